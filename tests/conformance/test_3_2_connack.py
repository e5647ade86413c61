# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 3.2: CONNACK: its flags, codes, and which properties come when."""
import pytest

from clauses import clause
from kit import (MALFORMED, PROTOCOL_ERROR, Peer, connect_bytes, connect_refused, connected, ended,
                 gone, password_file, props_of, publish, refused)
from raw import CONNACK, PUBACK, PUBREC, Closed, connect_packet, string

pytestmark = pytest.mark.usefixtures('unharmed')

# The broker's own defaults that differ from the standard's.
DEFAULTS = {'topic_alias_maximum': 10, 'maximum_packet_size': 2000000, 'receive_maximum': 20}


def without(*names, **more):
    return {**{k: v for k, v in DEFAULTS.items() if k not in names}, **more}


# Configuration, keyword arguments of CONNECT, and exactly what is said: what
# differs from the defaults of 3.2.2.3, or was asked for, and nothing else.
SAID = {
    'as it comes': ('', {}, DEFAULTS),
    'no topic alias': ('max_topic_alias 0\n', {}, without('topic_alias_maximum')),
    'topic aliases': ('max_topic_alias 65535\n', {}, without(topic_alias_maximum=65535)),
    'any number at once': ('max_inflight_messages 0\n', {}, without('receive_maximum')),
    'the default said aloud': ('max_inflight_messages 65535\n', {}, without('receive_maximum')),
    'few at once': ('max_inflight_messages 1\n', {}, without(receive_maximum=1)),
    'small packets': ('max_packet_size 5000\n', {}, without(maximum_packet_size=5000)),
    'QoS 1': ('max_qos 1\n', {}, without(maximum_qos=1)),
    'QoS 0': ('max_qos 0\n', {}, without(maximum_qos=0)),
    'QoS 2 said aloud': ('max_qos 2\n', {}, DEFAULTS),
    'nothing retained': ('retain_available false\n', {}, without(retain_available=0)),
    'keep alive above the maximum': ('max_keepalive 30\n', {'keepalive': 60}, without(server_keep_alive=30)),
    'keep alive of 0': ('max_keepalive 30\n', {'keepalive': 0}, without(server_keep_alive=30)),
    'keep alive within the maximum': ('max_keepalive 30\n', {'keepalive': 30}, DEFAULTS),
    'session expiry as asked': ('persistent_client_expiration 1h\n', {'props': {'session_expiry': 3600}},
                                DEFAULTS),
    'session expiry cut': ('persistent_client_expiration 1h\n', {'props': {'session_expiry': 3601}},
                           without(session_expiry=3600)),
    'session expiry without end cut': ('persistent_client_expiration 1h\n',
                                       {'props': {'session_expiry': 0xffffffff}},
                                       without(session_expiry=3600)),
    'session expiry of 0': ('persistent_client_expiration 1h\n', {'props': {'session_expiry': 0}}, DEFAULTS),
    'response information asked for': ('response_information r\n', {'props': {'request_response': 1}},
                                       without(response_info='r/said')),
    'response information not asked for': ('response_information r\n', {}, DEFAULTS),
    'response information not there': ('', {'props': {'request_response': 1}}, DEFAULTS),
    'requests of the client change nothing': ('', {'props': {
        'request_problem': 0, 'request_response': 0, 'receive_maximum': 1, 'topic_alias_maximum': 5,
        'user_property': [('a', 'b')], 'session_expiry': 5}}, DEFAULTS),
}


@pytest.mark.ours
@clause('MQTT-3.2.2-1', 'MQTT-3.1.2-28')
@pytest.mark.parametrize('what', [
    pytest.param(w, marks=clause('MQTT-3.1.2-21', 'MQTT-3.2.2-22') if w.startswith('keep') else
                 clause('MQTT-3.2.2-9') if w.startswith('QoS') else []) for w in SAID])
def test_properties(brokers, what):
    conf, kw, want = SAID[what]
    with Peer(brokers(conf).port) as c:
        a = c.connect('said', **kw)
        assert a.props == want
        assert a.body[:2] == b'\x00\x00'
        if kw.get('props', {}).get('session_expiry'):
            c.disconnect(props={'session_expiry': 0})


@pytest.mark.ours
@clause('MQTT-3.2.2-1', 'MQTT-2.2.2-1')
def test_no_properties(brokers):
    """With everything at the standard's defaults: five bytes."""
    conf = 'max_topic_alias 0\nmax_inflight_messages 0\nmax_packet_size 268435460\n'
    with Peer(brokers(conf).port) as c:
        a = c.connect('plain')
        assert (a.flags, a.body) == (0, b'\x00\x00\x00')


# 3.2.2.1: Session Present is tested with Clean Start; here: with a refusal.

@pytest.mark.ours
@clause('MQTT-3.2.2-6', 'MQTT-3.2.2-7', 'MQTT-3.2.2-1')
def test_session_present_in_a_refusal(brokers, topic):
    """Even where a session is there: 0, and it stays as it was."""
    b = brokers('max_qos 1\n')
    with connected(b, 'there', props={'session_expiry': 60}) as c:
        c.subscribe(topic)
    with Peer(b.port) as c:
        c.send(connect_packet('there', clean=False, will=('w', b'', 2)))
        assert connect_refused(c, 0x9b).body[:2] == b'\x00\x9b'
    with Peer(b.port) as c:
        assert c.connect('there', clean=False).body[0] == 1
        c.publish(topic, 'x')
        assert c.message().payload == b'x'


# Every cause of a refusal there is without a login.
CAUSES = {
    'malformed': ('', connect_bytes(flags=0x01), 0x81),
    'protocol error': ('', connect_bytes(props=b'\x03\x21\x00\x00'), 0x82),
    'version': ('', connect_bytes(level=6), 0x84),
    'version not served': ('accept_protocol_versions 4\n', connect_packet('x'), 0x84),
    'client identifier': ('allow_zero_length_clientid false\n', connect_packet(''), 0x85),
    'not authorized': ('allow_anonymous false\n', connect_packet('x'), 0x87),
    'method': ('', connect_bytes(props=props_of(auth_method='x')), 0x8c),
    'will topic': ('', connect_packet('x', will=('a/#', b'')), 0x90),
    'will too large': ('message_size_limit 10\n', connect_packet('x', will=('w', b'x' * 11)), 0x95),
    'will retained': ('retain_available false\n', connect_packet('x', will=('w', b'', 0, True)), 0x9a),
    'will QoS 2': ('max_qos 1\n', connect_packet('x', will=('w', b'', 2)), 0x9b),
    'will QoS 1': ('max_qos 0\n', connect_packet('x', will=('w', b'', 1)), 0x9b),
}


@pytest.mark.ours
@clause('MQTT-3.2.2-8', 'MQTT-3.2.2-7', 'MQTT-3.2.2-6', 'MQTT-3.1.4-2', 'MQTT-4.13.2-1')
@pytest.mark.parametrize('what', [
    pytest.param(w, marks=clause('MQTT-3.2.2-12') if 'QoS' in w else
                 clause('MQTT-3.2.2-13') if 'retained' in w else
                 clause('MQTT-4.7.0-1', 'MQTT-3.1.3-11') if 'topic' in w else []) for w in CAUSES])
def test_refusals(brokers, base_folder, what):
    """The code for the cause, one of the standard's, then the end.  Who is
    there already is not disturbed."""
    conf, data, code = CAUSES[what]
    b = brokers(conf + (f'password_file {password_file(base_folder)}\n' if code == 0x87 else ''), anonymous=code != 0x87)
    with Peer(b.port) as c:
        c.send(data)
        connect_refused(c, code)
    assert b.alive()


@pytest.mark.ours
@clause('MQTT-3.2.2-19', 'MQTT-3.2.2-20', 'MQTT-3.1.2-24')
def test_reason_string_and_maximum_packet_size(broker):
    """A reason that makes the CONNACK too large is left out; where it just
    fits, it is there."""
    def refusal(limit):
        with Peer(broker.port) as c:
            c.max_packet = limit
            c.send(connect_packet('reason', props={'maximum_packet_size': limit, 'auth_method': 'none'}))
            return connect_refused(c, 0x8c)

    whole = refusal(1000)
    assert whole.props['reason_string']
    assert refusal(whole.size).props == whole.props
    for limit in (whole.size - 1, 10, 5):
        p = refusal(limit)
        assert p.props == {} and p.size == 5
    with Peer(broker.port) as c:		# not even the code fits
        c.send(connect_packet('reason', props={'maximum_packet_size': 4, 'auth_method': 'none'}))
        ended(c)


@clause('MQTT-3.2.2-16', 'MQTT-3.1.2-24')
def test_assigned_identifier_and_maximum_packet_size(broker):
    """A CONNACK that cannot be sent whole is not sent; 0x95 says why."""
    with Peer(broker.port) as c:
        c.max_packet = 30
        c.send(connect_packet('', props={'maximum_packet_size': 30}))
        connect_refused(c, 0x95)


@clause('MQTT-3.2.2-16', 'MQTT-3.1.2-10')
@pytest.mark.ours
def test_no_will_of_a_refused_client(broker, topic):
    with connected(broker, 'heir') as heir:
        heir.subscribe(topic)
        with Peer(broker.port) as c:
            c.send(connect_packet('', props={'maximum_packet_size': 30}, will=(topic, b'will')))
            connect_refused(c, 0x95)
        heir.silent(0.1)


# What the broker said it does not do.

@clause('MQTT-3.2.2-9', 'MQTT-3.2.2-10')
@pytest.mark.parametrize('maximum', [0, 1])
def test_maximum_qos_and_subscribe(brokers, topic, maximum):
    """Any QoS may be asked for; what is granted, and delivered, is the
    maximum."""
    with connected(brokers(f'max_qos {maximum}\n'), 'qos') as c:
        assert c.all[0].props['maximum_qos'] == maximum
        assert c.subscribe((topic, 0), (topic + '/1', 1), (topic + '/2', 2)) == \
            [0, min(1, maximum), maximum]
        c.publish_acked(topic + '/2', 'x', maximum)
        assert c.message().qos == maximum


@clause('MQTT-3.2.2-11')
@pytest.mark.parametrize('maximum, qos', [(0, 1), (0, 2), (1, 2)])
def test_publish_above_maximum_qos(brokers, topic, maximum, qos):
    """The server's side of it: 0x9B."""
    b = brokers(f'max_qos {maximum}\n')
    with connected(b, 'other') as other, connected(b, 'above') as c:
        other.subscribe((topic, 2))
        c.send(publish(topic, b'no', qos))
        refused(c, 0x9b)
        other.silent(0.05)


@clause('MQTT-3.2.2-12')
@pytest.mark.parametrize('maximum', [0, 1])
def test_will_within_maximum_qos(brokers, topic, maximum):
    b = brokers(f'max_qos {maximum}\n')
    with connected(b, 'heir') as heir:
        heir.subscribe((topic, 2))
        with connected(b, 'dies', will=(topic, b'w', maximum)):
            pass
        assert heir.message().qos == maximum


@clause('MQTT-3.2.2-14', 'MQTT-3.2.2-13')
def test_retain_not_available(brokers, topic):
    """0x9A to who retains all the same; the rest goes on."""
    b = brokers('retain_available false\n')
    with connected(b, 'keeps') as c:
        assert c.all[0].props['retain_available'] == 0
        c.subscribe(topic)
        c.publish(topic, 'live')
        assert c.message().payload == b'live'
        c.publish(topic, 'kept', retain=True)
        refused(c, 0x9a)
    with Peer(b.port) as c:
        c.send(connect_packet('keeps', will=(topic, b'', 0, True)))
        connect_refused(c, 0x9a)


@clause('MQTT-3.2.2-15')
@pytest.mark.parametrize('n', [4999, 5000, 5001])
def test_maximum_packet_size_of_the_broker(brokers, topic, n):
    """What just fits is taken; a byte more is 0x95."""
    b = brokers('max_packet_size 5000\n')
    with connected(b, 'large') as c:
        assert c.all[0].props['maximum_packet_size'] == 5000
        c.subscribe(topic)
        data = publish(topic, b'x' * (n - 3 - 2 - len(topic) - 1))
        assert len(data) == n
        c.send(data)
        if n > 5000:
            refused(c, 0x95)
        else:
            assert c.message().size == n


@clause('MQTT-3.2.2-17', 'MQTT-3.2.2-18', 'MQTT-3.3.2-9')
@pytest.mark.parametrize('maximum', [0, 1, 10])
def test_topic_alias_maximum_of_the_broker(brokers, topic, maximum):
    """All within it are taken; one more is 0x94.  0, which is not said, means
    none."""
    b = brokers(f'max_topic_alias {maximum}\n')
    with connected(b, 'alias') as c:
        assert c.all[0].props.get('topic_alias_maximum', 0) == maximum
        c.subscribe(topic + '/#')
        for alias in range(1, maximum + 1):
            c.publish(f'{topic}/{alias}', str(alias), props={'topic_alias': alias})
            c.publish('', 'again', props={'topic_alias': alias})
            assert [m[0] for m in c.messages(2)] == [f'{topic}/{alias}'] * 2
        c.publish(topic, 'no', props={'topic_alias': maximum + 1})
        refused(c, 0x94)


@clause('MQTT-3.2.2-21', 'MQTT-3.2.2-9')
def test_what_is_available_is_not_said(broker, topic):
    """Wildcards, identifiers and shared subscriptions: nothing in the CONNACK
    means that they work, and they do."""
    with connected(broker, 'all') as c:
        assert not {'wildcard_available', 'subscription_ids_available', 'shared_available',
                    'maximum_qos', 'retain_available'} & set(c.all[0].props)
        assert c.subscribe((topic + '/#', 2), (topic + '/+', 2), props={'subscription_id': 3}) == [2, 2]
        assert c.subscribe((f'$share/g/{topic}', 2)) == [2]
        c.publish(topic, 'x', retain=True)
        assert sorted(m.props.get('subscription_id', []) for m in (c.message(), c.message())) == [[], [3]]
        c.publish(topic, '', retain=True)
