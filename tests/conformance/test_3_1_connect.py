# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 3.1: CONNECT."""
import string as letters
import time

import pytest

from clauses import clause
from harness import REFERENCE, paced
from kit import (MALFORMED, NO_PROPS, PROTOCOL_ERROR, Peer, ack, connect_bytes, connect_refused,
                 connected, ended, gone, mid_bytes, password_file, props_of, publish, refused,
                 subscribe, unsubscribe)
from raw import (AUTH, CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH,
                 PUBREC, PUBREL, SUBACK, UNSUBACK, Closed, connect_packet, packet, properties, string)

pytestmark = pytest.mark.usefixtures('unharmed')

FIRST = {
    'PUBLISH': publish('first', b'x'), 'PUBLISH retained': publish('first', b'x', flags=1),
    'PUBACK': ack(PUBACK, 1), 'PUBREC': ack(PUBREC, 1), 'PUBREL': ack(PUBREL, 1),
    'PUBCOMP': ack(PUBCOMP, 1), 'SUBSCRIBE': subscribe(('first', 0)), 'UNSUBSCRIBE': unsubscribe('first'),
    'PINGREQ': packet(PINGREQ, 0, b''), 'DISCONNECT': packet(DISCONNECT, 0, b''),
    'AUTH': packet(AUTH, 0, b'\x19' + props_of(auth_method='x')), 'CONNACK': packet(CONNACK, 0, b'\0\0\0'),
}


@clause('MQTT-3.1.0-1', 'MQTT-3.14.0-1', 'MQTT-3.2.0-1')
@pytest.mark.parametrize('what', FIRST)
def test_connect_is_first(broker, unharmed, what):
    """Anything else ends the connection, without a DISCONNECT, which is for
    after CONNACK only; and nothing of it is done."""
    unharmed.c.subscribe('first')
    with Peer(broker.port) as c:
        c.send(FIRST[what] + connect_packet('late'))
        ended(c)
    unharmed.check()
    unharmed.c.unsubscribe('first')


@clause('MQTT-3.1.0-2', 'MQTT-3.2.0-2', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('client_id', ['twice', 'another'])
def test_second_connect(broker, client_id):
    with connected(broker, 'twice') as c:
        c.send(connect_packet(client_id))
        refused(c, PROTOCOL_ERROR)


@clause('MQTT-3.1.0-2', 'MQTT-3.2.0-2')
def test_second_connect_in_one_write(broker):
    with Peer(broker.port) as c:
        c.send(connect_packet('twice') + connect_packet('twice'))
        assert c.expect(CONNACK).code == 0
        refused(c, PROTOCOL_ERROR)


# Protocol name, level, flags.

@clause('MQTT-3.1.2-1', 'MQTT-3.1.4-1')
@pytest.mark.parametrize('name', [b'', b'M', b'mqtt', b'MQTt', b'MQTTT', b'MQT', b'MQTT\0', b'MQIsdp',
                                  b'HTTP', b'\xff\xff\xff\xff', '\ufeffMQTT'.encode()])
def test_protocol_name(broker, name):
    """Closed; 0x84, or 0x01 of 3.1.1, may be said before."""
    with Peer(broker.port, version=4) as c:
        c.send(connect_bytes(name=name) + packet(PINGREQ, 0, b''))
        assert c.closed() in (None, 0x84, 1)
        assert all(p.kind == CONNACK for p in c.all) and len(c.all) <= 1


@clause('MQTT-3.1.2-2', 'MQTT-3.2.2-7')
@pytest.mark.parametrize('level', [6, 7, 99, 127, 255])
def test_version_of_the_future(broker, level):
    """The answer has the form of 5.0, as the packet has."""
    with Peer(broker.port) as c:
        c.send(connect_bytes(level=level))
        p = connect_refused(c, 0x84)
        assert p.body[:2] == b'\x00\x84'


@clause('MQTT-3.1.2-2', 'MQTT-3.2.2-7')
@pytest.mark.parametrize('level', [0, 1, 2])
def test_version_of_the_past(broker, level):
    """Nobody there could read 0x84: the answer of 3.1.1 has the same meaning."""
    with Peer(broker.port, version=4) as c:
        c.send(connect_bytes(level=level))
        p = c.expect(CONNACK)
        assert p.body == b'\x00\x01'
        ended(c)


@pytest.mark.ours
@clause('MQTT-3.1.2-2')
def test_version_that_is_not_served(brokers):
    b = brokers('accept_protocol_versions 3, 4\n')
    with Peer(b.port) as c:
        c.send(connect_packet('five'))
        connect_refused(c, 0x84)


@clause('MQTT-3.1.2-3', 'MQTT-3.1.4-1')
@pytest.mark.parametrize('flags', [0x01, 0x03])
def test_reserved_connect_flag(broker, flags):
    with Peer(broker.port) as c:
        c.send(connect_bytes(flags=flags))
        connect_refused(c, MALFORMED)


# Clean Start.

def leave_a_session(broker, client_id, topic, expiry=60):
    """A session with a subscription and a message that waits."""
    with connected(broker, client_id, props={'session_expiry': expiry}) as c:
        c.subscribe((topic, 1))
    with connected(broker, 'pub-' + client_id) as p:
        p.publish_acked(topic, 'waits', 1)


@clause('MQTT-3.1.2-4', 'MQTT-3.2.2-2', 'MQTT-3.1.4-4')
def test_clean_start_discards(broker, topic):
    leave_a_session(broker, 'clean', topic)
    with Peer(broker.port) as c:
        assert c.connect('clean', clean=True).body[:2] == b'\x00\x00'
        c.publish_acked(topic, 'nobody takes it', 1)
        c.silent(0.1)
        c.disconnect()
    with Peer(broker.port) as c:	# and nothing of the old one comes back
        assert c.connect('clean', clean=False).body[:2] == b'\x00\x00'
        c.silent(0.1)


@clause('MQTT-3.1.2-5', 'MQTT-3.2.2-3', 'MQTT-3.1.2-23', 'MQTT-3.1.4-4')
def test_session_is_resumed(broker, topic):
    leave_a_session(broker, 'resume', topic)
    with Peer(broker.port) as c:
        assert c.connect('resume', clean=False).body[:2] == b'\x01\x00'
        m = c.message()
        assert (m.payload, m.qos) == (b'waits', 1)
        c.publish(topic, 'live')
        assert c.message().payload == b'live'


@clause('MQTT-3.1.2-6', 'MQTT-3.2.2-3')
def test_no_session_to_resume(broker, topic):
    """Clean Start 0 without a session: a new one, and the flag says so."""
    with Peer(broker.port) as c:
        assert c.connect('never-seen', clean=False).body[:2] == b'\x00\x00'
        c.silent(0.05)


@clause('MQTT-3.1.2-23', 'MQTT-4.1.0-1', 'MQTT-4.1.0-2')
@pytest.mark.parametrize('expiry, present', [(None, 0), (0, 0), (1, 1), (0xffffffff, 1)])
def test_session_expiry_and_state(broker, topic, expiry, present):
    """State is kept after the connection only when the interval is above 0;
    while it is open, always."""
    props = None if expiry is None else {'session_expiry': expiry}
    with connected(broker, 'state', props=props) as c:
        c.subscribe(topic)
        for _ in range(3):
            c.publish(topic, 'x')
            c.message()
        c.disconnect()
    with Peer(broker.port) as c:
        assert c.connect('state', clean=False).body[0] == present
        c.publish(topic, 'y')
        if present:
            assert c.message().payload == b'y'
        else:
            c.silent(0.1)
        c.disconnect()
    gone(broker, 'state')


# The will.

def dying(broker, client_id='dies', **kw):
    """Connects and drops the connection without a DISCONNECT."""
    with connected(broker, client_id, **kw):
        pass


@pytest.fixture
def heir(broker, topic):
    """Who gets the wills of this test."""
    with connected(broker, 'heir') as c:
        c.subscribe((topic, 0x0a))		# QoS 2, retain as published
        yield c


@clause('MQTT-3.1.2-6', 'MQTT-3.1.2-9', 'MQTT-3.1.2-14', 'MQTT-3.1.2-15')
@pytest.mark.parametrize('retain', [False, True])
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_will_qos_and_retain(broker, topic, heir, qos, retain):
    dying(broker, will=(topic, b'last \x00words', qos, retain))
    m = heir.message()
    assert (m.topic, m.payload, m.qos, m.retain) == (topic, b'last \x00words', qos, retain)
    with connected(broker, 'later') as c:
        c.subscribe((topic, 2))
        if retain:
            m = c.message()
            assert (m.payload, m.qos, m.retain) == (b'last \x00words', qos, True)
            c.publish(topic, b'', retain=True)
        else:
            c.silent(0.1)


WILL = NO_PROPS + string('t') + string('p')
LACKING = {
    'everything': b'', 'properties': string('t') + string('p'), 'topic and payload': NO_PROPS,
    'payload': NO_PROPS + string('t'), 'end of the payload': NO_PROPS + string('t') + b'\0\5p',
    'end of the topic': NO_PROPS + b'\0\5t',
}


@clause('MQTT-3.1.2-9', 'MQTT-3.1.2-6', 'MQTT-3.1.4-1')
@pytest.mark.parametrize('what', LACKING)
def test_will_lacks(broker, what):
    with Peer(broker.port) as c:
        c.send(connect_bytes(flags=0x06, payload=string('lacks') + LACKING[what]))
        connect_refused(c, MALFORMED, PROTOCOL_ERROR)


@clause('MQTT-3.1.2-10', 'MQTT-3.1.4-1')
def test_will_without_its_flag(broker, topic, heir):
    """The fields of a will where no flag announces one are not taken for one;
    and who has none, sends none."""
    with Peer(broker.port) as c:
        c.send(connect_bytes(flags=0x02, payload=string('x') + NO_PROPS + string(topic) + string('w')))
        connect_refused(c, MALFORMED)
    dying(broker)
    heir.silent(0.15)


@clause('MQTT-3.1.2-7', 'MQTT-3.1.2-11', 'MQTT-3.1.4-1')
@pytest.mark.parametrize('qos', [1, 2, 3])
def test_will_qos_without_will(broker, qos):
    with Peer(broker.port) as c:
        c.send(connect_bytes(flags=0x02 | qos << 3))
        connect_refused(c, MALFORMED)


@clause('MQTT-3.1.2-8', 'MQTT-3.1.2-13', 'MQTT-3.1.4-1')
def test_will_retain_without_will(broker):
    with Peer(broker.port) as c:
        c.send(connect_bytes(flags=0x22))
        connect_refused(c, MALFORMED)


@clause('MQTT-3.1.2-12', 'MQTT-3.1.4-1')
def test_will_qos_3(broker):
    """The standard's own 3.1.2-12."""
    with Peer(broker.port) as c:
        c.send(connect_bytes(flags=0x1e, payload=string('x') + WILL))
        connect_refused(c, MALFORMED)


@clause('MQTT-3.1.2-10', 'MQTT-3.14.4-3')
@pytest.mark.parametrize('code, sent', [(None, False), (0x00, False), (0x04, True), (0x80, True)])
def test_will_and_disconnect(broker, topic, heir, code, sent):
    """It goes with a DISCONNECT of 0x00, stays with any other."""
    with connected(broker, 'leaves', will=(topic, b'will', 1)) as c:
        c.send(packet(DISCONNECT, 0, b'' if code is None else bytes([code])))
        ended(c)
    if sent:
        assert heir.message().payload == b'will'
    else:
        heir.silent(0.15)


@clause('MQTT-3.1.2-10')
@pytest.mark.parametrize('how', ['second CONNECT', 'malformed', 'takeover'])
def test_will_after_a_fault(broker, topic, heir, how):
    """Whatever ended the connection: once, and not again when the session is
    taken up."""
    with connected(broker, 'faulty', will=(topic, b'will', 1), props={'session_expiry': 20}) as c:
        if how == 'takeover':
            with connected(broker, 'faulty', clean=False) as other:
                refused(c, 0x8e)
                other.disconnect(props={'session_expiry': 0})
        else:
            c.send(connect_packet('x') if how == 'second CONNECT' else b'\xc1\x00')
            refused(c, MALFORMED, PROTOCOL_ERROR)
    assert heir.message().payload == b'will'
    with connected(broker, 'faulty', clean=False) as c:
        c.disconnect(props={'session_expiry': 0} if how != 'takeover' else None)
    heir.silent(0.1)


WILL_PROPS = {'payload_format': 1, 'message_expiry': 1000, 'content_type': 'text/plain',
              'response_topic': 'answer/here', 'correlation_data': b'\x00\xff',
              'user_property': [('b', '1'), ('a', '2'), ('b', '1'), ('', 'é')]}


@clause('MQTT-3.1.3-10', 'MQTT-3.1.2-6', 'MQTT-3.3.2-18')
def test_will_properties(broker, topic, heir):
    """All go with the message, the user properties in their order; the delay
    does not."""
    began = time.monotonic()
    dying(broker, will=(topic, 'é'.encode(), 1, False, {**WILL_PROPS, 'will_delay': 0}))
    m = heir.message()
    expiry = m.props.pop('message_expiry')
    want = dict(WILL_PROPS)
    assert 999 - (time.monotonic() - began) <= expiry <= want.pop('message_expiry')
    assert m.props == want and m.payload == 'é'.encode()


@clause('MQTT-3.1.3-9')
@paced
def test_will_delay(broker, topic, heir, pace):
    """Not before the delay; not at all when the client is back in time."""
    will = (topic, b'late', 1, False, {'will_delay': 2 * pace})
    gone(broker, 'delays')
    heir.gather(0, 0.1 * pace)
    with connected(broker, 'delays', will=will, props={'session_expiry': 60}):
        pass
    with connected(broker, 'delays', clean=False, props={'session_expiry': 60}):
        heir.silent(2.3 * pace)		# it came back, and has no will now
    with connected(broker, 'delays', clean=False, will=will, props={'session_expiry': 60}):
        pass
    heir.silent(0.6 * pace)
    assert heir.message().payload == b'late'
    gone(broker, 'delays')
    heir.silent(0.1)


@clause('MQTT-3.1.3-9', 'MQTT-4.1.0-2')
@pytest.mark.parametrize('how', ['session expiry', 'clean start'])
def test_will_delay_ends_with_the_session(broker, topic, heir, how):
    """The will is sent when the delay is over or the session ends, whichever is
    first."""
    with connected(broker, 'ends', will=(topic, b'now', 1, False, {'will_delay': 1000}),
                   props={'session_expiry': 1 if how == 'session expiry' else 1000}):
        pass
    heir.silent(0.2)
    if how == 'clean start':
        gone(broker, 'ends')
    assert heir.message().payload == b'now'


# User name and password.

LOGINS = {
    'name announced, none there': (0x82, b''),
    'name announced, cut': (0x82, b'\0\5ab'),
    'password announced, none there': (0x42, b''),
    'password announced, cut': (0x42, b'\0\5ab'),
    'both announced, name there': (0xc2, string('name')),
    'name there, not announced': (0x02, string('name')),
    'password there, not announced': (0x82, string('name') + string('password')),
    'name there before the password, not announced': (0x42, string('name') + string('password')),
}
LOGIN_CLAUSES = {'name announced': 'MQTT-3.1.2-17', 'password announced': 'MQTT-3.1.2-19',
                 'both announced': 'MQTT-3.1.2-19', 'name there': 'MQTT-3.1.2-16',
                 'password there': 'MQTT-3.1.2-18'}


@clause('MQTT-3.1.4-1')
@pytest.mark.parametrize('what', [pytest.param(w, marks=[
    clause(c) for start, c in LOGIN_CLAUSES.items() if w.startswith(start)]) for w in LOGINS])
def test_login_fields_and_flags(broker, what):
    flags, fields = LOGINS[what]
    with Peer(broker.port) as c:
        c.send(connect_bytes(flags=flags, payload=string('login') + fields))
        connect_refused(c, MALFORMED)


@clause('MQTT-3.1.2-16', 'MQTT-3.1.2-17', 'MQTT-3.1.2-18', 'MQTT-3.1.2-19')
@pytest.mark.parametrize('flags, fields', [
    (0x02, b''), (0x82, string('name')), (0x42, string(b'\x00\xffpass')), (0xc2, string('n') + string('p')),
    (0x82, string('')), (0xc2, string('') + string(''))])
def test_login_fields_that_fit(broker, flags, fields):
    """A password alone is good in 5.0, and both may be empty."""
    with Peer(broker.port) as c:
        c.send(connect_bytes(flags=flags, payload=string('login') + fields))
        assert c.expect(CONNACK).code == 0
        c.ping()


@clause('MQTT-3.1.3-1')
def test_order_of_the_payload(broker, topic, heir):
    """Client identifier, will properties, topic and payload, user name,
    password; in that order they are understood, in another not."""
    will = props_of(content_type='w') + string(topic) + string('payload')
    login = string('user') + string('password')
    with Peer(broker.port) as c:
        c.send(connect_bytes(flags=0xc6, payload=string('order') + will + login))
        assert c.expect(CONNACK).code == 0
    m = heir.message()
    assert (m.topic, m.payload, m.props) == (topic, b'payload', {'content_type': 'w'})
    with Peer(broker.port) as c:
        c.send(connect_bytes(flags=0xc6, payload=string('order') + login + will))
        connect_refused(c, MALFORMED, PROTOCOL_ERROR)


# Keep alive.

@clause('MQTT-3.1.2-11', 'MQTT-3.1.2-22', 'MQTT-3.2.2-22')
@paced
def test_keep_alive(broker, topic, heir, pace):
    """One second: closed between 1.5 s and a little more, with 0x8D, and the
    will is sent; who sends anything at all stays, and so does who has none.
    The client's value counts, as the broker said none of its own."""
    with connected(broker, 'quiet', keepalive=pace, will=(topic, b'gone', 1)) as quiet, \
            connected(broker, 'pings', keepalive=pace) as pings, \
            connected(broker, 'talks', keepalive=pace) as talks, \
            connected(broker, 'none', keepalive=0) as none:
        assert 'server_keep_alive' not in quiet.all[0].props
        began = time.monotonic()
        end = None
        quiet.sock.setblocking(False)
        while time.monotonic() - began < 4 * pace:
            pings.ping()
            talks.publish(topic + '/other', 'x')
            time.sleep(0.3 * pace)
            try:
                if end is None and quiet.sock.recv(1, 2):
                    end = time.monotonic() - began
            except BlockingIOError:
                pass
            if end and time.monotonic() - began > 2.6 * pace:
                break
        quiet.sock.setblocking(True)
        assert end is not None and 1.2 * pace <= end <= 4 * pace
        refused(quiet, 0x8d)
        assert heir.message().payload == b'gone'
        for c in (pings, talks, none):
            c.ping()


@clause('MQTT-3.1.2-21', 'MQTT-3.2.2-22')
@paced
def test_server_keep_alive(brokers, pace):
    """A value of the broker is said, and used, whatever was asked for."""
    b = brokers(f'max_keepalive {pace}\n')
    with Peer(b.port) as zero, Peer(b.port) as two, Peer(b.port) as minute, Peer(b.port) as same:
        for c, asked in ((zero, 0), (two, 2 * pace), (minute, 60)):
            assert c.connect(f'keeps-{asked}', keepalive=asked).props['server_keep_alive'] == pace
        assert 'server_keep_alive' not in same.connect('keeps-1', keepalive=pace).props
        began = time.monotonic()
        for c in (zero, two, minute, same):
            refused(c, 0x8d)
            assert 1.2 * pace <= time.monotonic() - began <= 4 * pace


# Maximum Packet Size.

@clause('MQTT-3.1.2-24', 'MQTT-3.1.2-25')
@pytest.mark.parametrize('qos', [0, 1, 2])
@pytest.mark.parametrize('retained', [False, True])
def test_maximum_packet_size(broker, topic, qos, retained):
    """One byte too large is not sent, and as good as sent: what follows comes,
    and its place in the window is free.  What just fits, comes."""
    limit = 100
    overhead = 2 + 2 + len(topic) + (2 if qos else 0) + 1
    with connected(broker, 'small', props={'maximum_packet_size': limit, 'receive_maximum': 1}) as c, \
            connected(broker, 'large') as p:
        if retained:
            p.publish_acked(topic, b'x' * (limit - overhead + 1), qos, retain=True)
            c.subscribe((topic, qos))
            c.silent(0.1)
            p.publish_acked(topic, b'', 0, retain=True)
            m = c.message()
            assert m.payload == b'' and m.size <= limit
            return
        c.subscribe((topic, qos))
        for n in (1, 0, 5, 1000, 0):
            p.publish_acked(topic, b'x' * (limit - overhead + n), qos)
            if n == 0:
                m = c.message()
                assert m.size == limit and m.qos == qos
        c.silent(0.1)


@clause('MQTT-3.1.2-24', 'MQTT-3.1.2-25')
def test_maximum_packet_size_of_one(broker, topic):
    """Another subscriber gets what is too large for this one."""
    with connected(broker, 'small', props={'maximum_packet_size': 60}) as small, \
            connected(broker, 'big') as big:
        small.subscribe((topic, 1))
        big.subscribe((topic, 1))
        big.publish_acked(topic, b'x' * 200, 1)
        assert len(big.message().payload) == 200
        small.silent(0.1)
        small.ping()


@clause('MQTT-3.1.2-24')
@pytest.mark.parametrize('limit', [5, 6, 7, 8, 10, 20])
def test_maximum_packet_size_of_answers(broker, topic, limit):
    """Also what is no message: an answer that is too large is not sent."""
    with Peer(broker.port) as c:
        c.max_packet = limit
        c.send(connect_packet('tiny', props={'maximum_packet_size': limit}))
        try:
            if c.recv().code:
                ended(c)
                return
            c.send(subscribe(*[(f'{topic}/{i}', 0) for i in range(10)]))
            while True:
                p = c.recv(0.2)
                assert p.kind in (SUBACK, DISCONNECT) and p.size <= limit
                if p.kind == SUBACK:
                    assert len(p.codes) == 10
        except (Closed, TimeoutError):
            pass


# Topic Alias Maximum of the client.

@clause('MQTT-3.1.2-27', 'MQTT-3.3.2-11')
@pytest.mark.parametrize('props', [None, {'topic_alias_maximum': 0}])
def test_no_topic_alias_to_the_client(broker, topic, props):
    with connected(broker, 'no-alias', props=props) as c:
        c.subscribe((topic, 1))
        for _ in range(5):
            c.publish(topic, 'x')
            m = c.message()
            assert m.topic == topic and 'topic_alias' not in m.props


@clause('MQTT-3.1.2-26', 'MQTT-3.3.2-11', 'MQTT-3.3.2-8')
@pytest.mark.parametrize('limit', [1, 3, 65535])
def test_topic_alias_to_the_client(broker, topic, limit):
    """Within the maximum, never 0, and each means what was said last."""
    with connected(broker, 'alias', props={'topic_alias_maximum': limit}) as c:
        c.subscribe((topic + '/#', 0))
        known = {}
        for i in (0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 0, 4, 4):
            c.publish(f'{topic}/{i}', str(i))
        for i in (0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 0, 4, 4):
            m = c.message()
            alias = m.props.get('topic_alias')
            assert alias is None or 1 <= alias <= limit
            if m.topic and alias:
                known[alias] = m.topic
            assert (m.topic or known[alias]) == f'{topic}/{i}' and m.payload == str(i).encode()


# Request Response Information, Request Problem Information.

@clause('MQTT-3.1.2-28')
@pytest.mark.parametrize('props', [None, {'request_response': 0}, {'request_response': 1}])
def test_response_information(brokers, props):
    b = brokers('' if REFERENCE else 'response_information answers\n')
    with Peer(b.port) as c:
        a = c.connect('asks', props=props)
        if props and props['request_response'] and not REFERENCE:
            assert a.props['response_info'] == 'answers/asks'
        else:
            assert 'response_info' not in a.props


def provoke(c, topic):
    """Refusals in every packet that could carry a reason."""
    c.subscribe(topic, '$share/+/x', 'a/#/b', '')
    c.unsubscribe(topic, 'never/there', 'a/#/b')
    c.publish_acked(topic, 'nobody', 1)
    c.publish_acked(topic, 'nobody', 2)
    c.ack(PUBREC, 777)			# of nothing
    assert c.wait_for(PUBREL).code == 0x92
    c.ack(PUBREL, 777)
    assert c.wait_for(PUBCOMP).code == 0x92
    return c.all


@clause('MQTT-3.1.2-29')
def test_request_problem_information_0(broker, topic):
    """No reason and no user property in whatever is refused, but in CONNACK and
    DISCONNECT, where it may be."""
    if REFERENCE:
        pytest.skip('Mosquitto ends the connection at bad filters')
    with connected(broker, 'no-problem', props={'request_problem': 0}) as c:
        got = provoke(c, topic)
        assert {p.kind for p in got} >= {SUBACK, UNSUBACK, PUBACK, PUBREC, PUBREL, PUBCOMP}
        for p in got:
            if p.kind not in (CONNACK, PUBLISH, DISCONNECT):
                assert not p.props, p
        c.send(b'\xc1\x00')
        refused(c, MALFORMED)


# Client identifiers.

@clause('MQTT-3.1.3-2')
def test_identifier_names_the_session(broker, topic):
    """Each its own, to the byte: case, blanks and characters beyond ASCII
    count."""
    names = ['name', 'Name', 'name ', ' name', 'namé', 'name/', '#', '+', '$name', 'name\x01']
    for n in names:
        with connected(broker, n, props={'session_expiry': 30}) as c:
            c.subscribe(f'{topic}/{names.index(n)}')
    for n in names:
        with Peer(broker.port) as c:
            assert c.connect(n, clean=False).body[0] == 1
            c.publish(f'{topic}/{names.index(n)}', n)
            assert c.message().payload == n.encode()
            for other in range(len(names)):
                if other != names.index(n):
                    c.publish(f'{topic}/{other}', 'not mine')
            c.silent(0.03)
            c.disconnect(props={'session_expiry': 0})
    with Peer(broker.port) as c:
        assert c.connect('name', clean=False).body[0] == 0


@clause('MQTT-3.1.3-3')
def test_identifiers_that_must_be_taken(broker):
    """1 to 23 bytes, of all 62 characters."""
    alphabet = letters.digits + letters.ascii_letters
    names = [alphabet[:n] for n in range(1, 24)] + list(alphabet) + \
        [alphabet[i:i + 23] for i in range(0, 62, 13)]
    for n in names:
        with Peer(broker.port) as c:
            a = c.connect(n)
            assert 'assigned_client_id' not in a.props
    for n in ('x' * 24, 'x' * 1000, 'x' * 60000):	# may be taken, and are
        with connected(broker, n) as c:
            c.ping()


@clause('MQTT-3.1.3-4', 'MQTT-3.1.3-6', 'MQTT-3.1.3-7', 'MQTT-3.2.2-16')
@pytest.mark.parametrize('clean', [True, False])
def test_identifier_assigned(broker, topic, clean):
    """Unique, said in the CONNACK, and the client's from then on."""
    with Peer(broker.port) as a, Peer(broker.port) as b:
        first = a.connect('', clean=clean, props={'session_expiry': 30})
        second = b.connect('', clean=clean, props={'session_expiry': 30})
        ids = [p.props['assigned_client_id'] for p in (first, second)]
        assert ids[0] != ids[1] and all(ids)
        assert first.body[0] == 0
        a.subscribe(topic)
        a.close()
        with Peer(broker.port) as c:
            again = c.connect(ids[0], clean=False, props={'session_expiry': 30})
            assert again.body[0] == 1 and 'assigned_client_id' not in again.props
            c.publish(topic, 'mine')
            assert c.message().payload == b'mine'
            c.disconnect(props={'session_expiry': 0})
        b.disconnect(props={'session_expiry': 0})


@clause('MQTT-3.1.3-5', 'MQTT-3.1.3-8', 'MQTT-3.2.2-7')
@pytest.mark.parametrize('conf, client_id', [('allow_zero_length_clientid false\n', ''),
                                             ('clientid_prefixes good-\n', 'bad-one')])
def test_identifier_refused(brokers, conf, client_id):
    """0x85, and closed; others come in."""
    b = brokers(conf)
    with connected(b, 'good-one') as other:
        with Peer(b.port) as c:
            c.send(connect_packet(client_id) + publish('good', b'x', flags=1))
            connect_refused(c, *((0x85, 0x87) if REFERENCE else (0x85,)))
        other.subscribe('good')
        other.ping()
        assert not [p for p in other.all if p.kind == PUBLISH]


# What comes after.

@clause('MQTT-3.1.4-2', 'MQTT-3.2.2-6', 'MQTT-3.2.2-7')
def test_not_authorized(brokers, base_folder):
    """No name, no password: 0x87, closed, and no word of why."""
    b = brokers(f'allow_anonymous false\npassword_file {password_file(base_folder)}\n' if not REFERENCE
                else 'allow_anonymous false\n', anonymous=False)
    for kw in ({}, {'username': 'nobody', 'password': 'x'}):
        with Peer(b.port) as c:
            c.send(connect_packet('who', **kw))
            p = connect_refused(c, 0x87, 0x86)
            assert 'reason_string' not in p.props


@clause('MQTT-3.1.4-3', 'MQTT-3.14.4-1', 'MQTT-3.14.4-2')
@pytest.mark.parametrize('clean', [True, False])
def test_takeover(broker, topic, clean):
    """The first is told 0x8E and closed; the second is served, and has the
    session unless it asked for a new one."""
    with connected(broker, 'taken', props={'session_expiry': 30}) as a:
        a.subscribe((topic, 1))
        with Peer(broker.port) as b:
            ackd = b.connect('taken', clean=clean)
            assert ackd.body[0] == (0 if clean else 1)
            refused(a, 0x8e)
            b.publish_acked(topic, 'x', 1)
            if not clean:
                assert b.message().payload == b'x'
            b.ping()
            b.disconnect(props=None)
    gone(broker, 'taken')


@clause('MQTT-3.1.4-5', 'MQTT-3.2.0-1', 'MQTT-3.2.0-2')
def test_connack_is_first(broker, topic):
    """Before what waits in the session, and before answers to what was sent
    without waiting for it; and only one."""
    leave_a_session(broker, 'order', topic)
    with Peer(broker.port) as c:
        c.send(connect_packet('order', clean=False, props={'session_expiry': 30})
               + subscribe((topic + '/2', 0)) + publish(topic + '/2', b'2')
               + packet(PINGREQ, 0, b''))
        got = [c.recv() for _ in range(5)]
        assert got[0].kind == CONNACK and got[0].code == 0
        assert sorted(p.kind for p in got[1:]) == [PUBLISH, PUBLISH, SUBACK, PINGRESP]
        c.disconnect(props={'session_expiry': 0})


REJECTED = {
    'malformed': (connect_bytes(flags=0x03), MALFORMED), 'version': (connect_bytes(level=9), 0x84),
    'protocol error': (connect_bytes(props=b'\x03\x21\x00\x00'), PROTOCOL_ERROR),
    'method': (connect_bytes(props=props_of(auth_method='NONE-SUCH')), 0x8c),
}


@clause('MQTT-3.1.4-6', 'MQTT-3.2.2-7', 'MQTT-3.2.2-8')
@pytest.mark.parametrize('what', REJECTED)
def test_nothing_is_done_after_a_refusal(broker, unharmed, topic, what):
    """What came behind the CONNECT in the same write is thrown away."""
    data, code = REJECTED[what]
    unharmed.c.subscribe(topic)
    with Peer(broker.port) as c:
        c.send(data + publish(topic, b'must not arrive') + publish(topic, b'kept?', flags=1)
               + subscribe(('witness', 0)) + packet(PINGREQ, 0, b''))
        connect_refused(c, code)
    unharmed.check()
    with connected(broker, 'looks') as c:
        c.subscribe(topic)
        c.silent(0.05)
    unharmed.c.unsubscribe(topic)


TRUNCATED = connect_packet('whole', props={'session_expiry': 5, 'user_property': ('a', 'b')},
                           will=('w', b'p', 1, False, {'content_type': 'x'}),
                           username='u', password='p')[2:]


@clause('MQTT-3.1.4-1')
def test_connect_cut_anywhere(broker):
    """Each prefix, with a length that fits it, is refused; so is a byte more."""
    for n in range(len(TRUNCATED)):
        with Peer(broker.port) as c:
            c.send(packet(CONNECT, 0, TRUNCATED[:n]))
            assert c.closed() in (None, MALFORMED, PROTOCOL_ERROR, 0x84, 1), n
            assert not c.all or c.all[0].code
    with Peer(broker.port) as c:
        c.send(packet(CONNECT, 0, TRUNCATED + b'\0'))
        connect_refused(c, MALFORMED)
