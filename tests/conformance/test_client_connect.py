# SPDX-License-Identifier: Apache-2.0
"""Our client's CONNECT and what it makes of CONNACK: MQTT 5.0 3.1, 3.2."""
import time

import pytest

from clauses import clause
from harness import paced
from peer import Peer, start
from raw import (CONNACK, CONNECT, PINGREQ, PINGRESP, PUBACK, PUBLISH, SUBSCRIBE, Closed,
                 connect_packet, packet)

pytestmark = pytest.mark.ours
versions = pytest.mark.parametrize('version', [5, 4, 3])
modern = pytest.mark.parametrize('version', [5, 4])


def connect_of(version, *args, name='pub', more=('-t', 'a', '-m', 'x'), status=0):
    """The CONNECT that a program sends."""
    with Peer(version) as peer, start(peer, name, *more, *args) as p:
        c = peer.take()
        connect = c.accept()
        if name == 'pub':
            c.expect(PUBLISH)
            c.farewell()
            p.ends(status)
        return connect


WILL = ['--will-topic', 'w/\u00e9', '--will-payload', 'bye', '--will-qos', '1', '--will-retain']


@clause('MQTT-3.1.0-1', 'MQTT-3.1.2-1', 'MQTT-3.1.2-3', 'MQTT-2.1.3-1', 'MQTT-3.1.3-1', 'MQTT-2.2.2-1',
        'MQTT311-3.1.0-1', 'MQTT311-3.1.3-1', 'MQTT311-3.1.3-3', 'MQTT31-3.1-1', 'MQTT31-3.1-16')
@versions
def test_the_first_packet_is_connect(version):
    """Byte for byte, with everything in it and in its order."""
    got = connect_of(version, '-i', 'me', '-u', 'anna', '-P', 'secret', '-k', '30', *WILL)
    assert got.raw == connect_packet('me', version, keepalive=30, username='anna', password='secret',
                                     will=('w/\u00e9', b'bye', 1, True))


@clause('MQTT-3.1.2-6', 'MQTT-3.1.2-17', 'MQTT-3.1.2-19', 'MQTT-3.1.3-11', 'MQTT-3.1.3-12',
        'MQTT-1.5.4-1', 'MQTT311-3.1.2-9', 'MQTT311-3.1.2-19', 'MQTT311-3.1.2-21', 'MQTT311-3.1.3-10',
        'MQTT311-3.1.3-11', 'MQTT311-3.1.3-4', 'MQTT311-3.1.3-2', 'MQTT-3.1.3-2')
@modern
def test_what_the_flags_announce_is_there(version):
    got = connect_of(version, '-i', 'f\u00fcr', '-u', '\u00fcser', '-P', 'p', *WILL)
    assert got.connect_flags == 0x80 | 0x40 | 0x20 | 0x08 | 0x04 | 0x02
    assert (got.will_topic, got.will_payload) == ('w/\u00e9'.encode(), b'bye')
    assert (got.client_id, got.username, got.password) == ('f\u00fcr'.encode(), '\u00fcser'.encode(),
                                                            b'p')


@clause('MQTT-3.1.2-10', 'MQTT-3.1.2-13', 'MQTT-3.1.2-16', 'MQTT-3.1.2-18', 'MQTT311-3.1.2-11',
        'MQTT311-3.1.2-13', 'MQTT311-3.1.2-15', 'MQTT311-3.1.2-18', 'MQTT311-3.1.2-20')
@modern
def test_what_they_do_not_announce_is_not(version):
    """FromClient fails when anything is left behind the last field."""
    got = connect_of(version)
    assert got.connect_flags == 0x02
    got = connect_of(version, '-u', 'anna')
    assert got.connect_flags == 0x82 and got.password is None


@clause('MQTT311-3.1.2-14', 'MQTT311-3.1.2-22', 'MQTT31-3.1-7')
@pytest.mark.parametrize('args', [['--will-topic', 'w', '--will-qos', '3'], ['-P', 'secret'],
                                  ['--will-qos', '1'], ['--will-retain']], ids=str)
@pytest.mark.parametrize('version', [4, 3])
def test_connect_that_3_1_1_forbids(version, args):
    with Peer(version) as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', *args) as p:
        p.ends(1)
        peer.none(0.05)


def test_a_password_alone_is_allowed_in_5():
    got = connect_of(5, '-P', 'secret')
    assert (got.connect_flags, got.password) == (0x42, b'secret')


@clause('MQTT311-3.1.3-7', 'MQTT-3.1.3-6')
@modern
def test_without_an_identifier_the_session_is_clean(version):
    got = connect_of(version)
    assert got.client_id == b'' and got.connect_flags & 0x02
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-c') as p:
        p.ends(1)
        peer.none(0.05)


@clause('MQTT-1.5.4-1', 'MQTT-1.5.4-2', 'MQTT311-1.5.3-1', 'MQTT311-3.1.3-4', 'MQTT311-3.1.3-10',
        'MQTT311-3.1.3-11', 'MQTT311-3.8.3-1', 'MQTT311-3.10.3-1', 'MQTT31-2.5-1', 'MQTT-3.8.3-1',
        'MQTT-3.10.3-1')
@versions
@pytest.mark.parametrize('args', [
    ['pub', '-t', 'a', '-m', 'x', '-i', b'\xff'], ['pub', '-t', 'a', '-m', 'x', '-u', b'\xc0\x80'],
    ['pub', '-t', 'a', '-m', 'x', '--will-topic', b'\xed\xa0\x80'], ['pub', '-t', b'\xfe', '-m', 'x'],
    ['sub', '-t', b'\xff/#'], ['sub', '-t', 'a', '-U', b'\xff'], ['rr', '-t', 'a', '-e', b'\xff', '-m', 'x'],
], ids=str)
def test_strings_that_are_no_utf8_are_not_sent(version, args):
    with Peer(version) as peer:
        with start(peer, *args) as p:
            p.ends(1)
            peer.none(0.02)


@clause('MQTT-1.5.7-1', 'MQTT-3.3.2-19', 'MQTT-3.3.2-13', 'MQTT-3.3.2-14')
@pytest.mark.parametrize('args', [
    ['publish', 'user-property', b'\xff', 'v'], ['publish', 'user-property', 'k', b'\xff'],
    ['publish', 'content-type', b'\xff'], ['publish', 'response-topic', b'\xff'],
    ['publish', 'response-topic', 'a/#'], ['will', 'response-topic', '+'],
], ids=str)
def test_properties_that_are_no_utf8_are_not_sent(args):
    with Peer() as peer:
        with start(peer, 'pub', '-t', 'a', '-m', 'x', '--will-topic', 'w', '-D', *args) as p:
            p.ends(1)
            peer.none(0.02)


@clause('MQTT-2.2.2-1')
def test_properties_of_connect():
    got = connect_of(5, '-x', '7', '-D', 'connect', 'receive-maximum', '9', '-D', 'connect',
                     'maximum-packet-size', '5000', '-D', 'connect', 'topic-alias-maximum', '3', '-D',
                     'connect', 'request-problem-information', '0', '-D', 'connect',
                     'request-response-information', '1', '-D', 'connect', 'user-property', 'k', 'v',
                     '--will-topic', 'w', '-D', 'will', 'will-delay-interval', '5')
    assert got.props == {'session_expiry': 7, 'receive_maximum': 9, 'maximum_packet_size': 5000,
                         'topic_alias_maximum': 3, 'request_problem': 0, 'request_response': 1,
                         'user_property': [('k', 'v')]}
    assert got.will_props == {'will_delay': 5}
    # What is not asked for is left out, and there is a length of zero.
    bare = connect_of(5)
    assert bare.props == {} and bare.raw == connect_packet('', 5)


@clause('MQTT-3.1.2-20', 'MQTT311-3.1.2-23')
@modern
@paced
def test_pings(version, pace):
    """With nothing else to send, PINGREQ within the keep alive."""
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-k', str(5 * pace), '-d') as p:
        c = peer.take()
        c.subscribed()
        began = time.monotonic()
        ping = c.expect(PINGREQ)
        assert ping.raw == b'\xc0\x00' and 4 * pace < time.monotonic() - began < 6 * pace
        c.send(packet(PINGRESP, 0, b''))
        p.printed(b'received PINGRESP')


@clause('MQTT-3.1.2-21')
@paced
def test_server_keep_alive_is_used(pace):
    with Peer() as peer, start(peer, 'sub', '-t', 'a', '-k', '60') as p:
        c = peer.take()
        c.subscribed(props={'server_keep_alive': pace})
        began = time.monotonic()
        c.pong()
        assert time.monotonic() - began < 3 * pace
        assert p.process.poll() is None
        # One that answers no ping is gone, after as long again.
        c.expect(PINGREQ)
        began = time.monotonic()
        with pytest.raises(Closed):
            c.recv()
        assert 0.8 * pace < time.monotonic() - began < 2 * pace


@clause('MQTT-3.2.2-1')
@modern
@pytest.mark.parametrize('bad', [b'\x02\x00', b'\x80\x00', b'\x01\x87', b'\x00', b''], ids=bytes.hex)
def test_malformed_connack(version, bad):
    """Flags that are reserved, or a session kept by who refuses."""
    with Peer(version) as peer, start(peer, 'pub', '-t', 'a', '-m', 'x') as p:
        c = peer.take()
        c.expect(CONNECT)
        c.send(packet(CONNACK, 0, bad + (b'\x00' if version == 5 and len(bad) == 2 else b'')))
        c.ended()
        p.ends(2)


@clause('MQTT-3.2.2-4', 'MQTT-3.2.2-5', 'MQTT311-4.1.0-1')
@modern
def test_a_session_that_was_not_asked_for(version):
    with Peer(version) as peer, start(peer, 'pub', '-t', 'a', '-m', 'x') as p:
        c = peer.take()
        c.expect(CONNECT)
        c.connack(session=True)
        c.ended()
        p.ends(2)
        assert 'session' in p.text()


@clause('MQTT-4.13.2-1', 'MQTT-3.1.3-8', 'MQTT-4.12.0-1', 'MQTT-4.12.0-4')
@pytest.mark.parametrize('code', [0x80, 0x84, 0x85, 0x87, 0x8c, 0x9f])
@pytest.mark.parametrize('name', ['pub', 'sub', 'rr'])
def test_refused(code, name):
    """The client closes, says why, and does not try again."""
    more = {'pub': ['-m', 'x'], 'sub': [], 'rr': ['-e', 'b', '-m', 'x']}[name]
    with Peer() as peer, start(peer, name, '-t', 'a', *more) as p:
        c = peer.take()
        c.expect(CONNECT)
        c.connack(code, props={'reason_string': 'told why'})
        c.ended()
        p.ends(code)
        assert 'told why' in p.text() and 'To mend it' in p.text() or code in (0x80, 0x9f)


@clause('MQTT-3.2.2-11')
@pytest.mark.parametrize('most', [0, 1])
def test_maximum_qos(most):
    for qos in range(3):
        with Peer() as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', '-q', qos) as p:
            c = peer.take()
            c.accept(props={'maximum_qos': most})
            if qos <= most:
                m = c.expect(PUBLISH)
                assert m.qos == qos
                if qos:
                    c.ack(PUBACK, m.mid)
            c.farewell()
            p.ends(0 if qos <= most else 1)
            assert qos <= most or 'QoS' in p.text()


@clause('MQTT-3.2.2-14')
def test_retain_not_available():
    with Peer() as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', '-r') as p:
        c = peer.take()
        c.accept(props={'retain_available': 0})
        c.farewell()
        p.ends(1)
        assert 'retained' in p.text()


@clause('MQTT-3.2.2-15')
@pytest.mark.parametrize('name,size', [('pub', 300), ('sub', 40), ('rr', 40)])
def test_maximum_packet_size(name, size):
    """Nothing larger than the broker takes is sent."""
    long = 'x' * 100
    more = {'pub': ['-t', 'a', '-m', long * 3], 'sub': ['-t', long],
            'rr': ['-t', 'a', '-e', long, '-m', 'x']}[name]
    with Peer() as peer, start(peer, name, *more) as p:
        c = peer.take()
        c.accept(props={'maximum_packet_size': size})
        c.farewell()
        assert p.status() in (1, 9)
        assert 'large' in p.text() or 'broker' in p.text()


@clause('MQTT-3.2.2-17', 'MQTT-3.2.2-18', 'MQTT-3.3.2-9', 'MQTT-3.3.2-7', 'MQTT-3.3.2-8')
@pytest.mark.parametrize('most,alias,sent', [(None, 1, False), (0, 1, False), (3, 4, False),
                                             (3, 3, True), (3, 0, None)])
def test_topic_alias_maximum(most, alias, sent):
    with Peer() as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', '-D', 'publish', 'topic-alias',
                               alias) as p:
        if sent is None:	# a usage error
            p.ends(1)
            peer.none(0.05)
            return
        c = peer.take()
        c.accept(props={} if most is None else {'topic_alias_maximum': most})
        if sent:
            m = c.expect(PUBLISH)
            assert (m.topic, m.props) == (b'a', {'topic_alias': alias})
        c.farewell()
        p.ends(0 if sent else 1)


@clause('MQTT-3.2.2-21')
@pytest.mark.parametrize('prop,args,sent', [
    ('wildcard_available', ['-t', 'a/+'], False), ('wildcard_available', ['-t', 'b', '-t', '#'], False),
    ('wildcard_available', ['-t', 'a'], True), ('wildcard_available', ['-t', '$share/g/a'], True),
    ('shared_available', ['-t', '$share/g/a'], False), ('shared_available', ['-t', 'a/#'], True),
    ('subscription_ids_available', ['-t', 'a', '-D', 'subscribe', 'subscription-identifier', '1'],
     False)], ids=str)
def test_kinds_of_subscriptions_that_are_not_available(prop, args, sent):
    with Peer() as peer, start(peer, 'sub', '-E', *args) as p:
        c = peer.take()
        c.accept(props={prop: 0})
        if sent:
            c.suback(c.expect(SUBSCRIBE))
        c.farewell()
        p.ends(0 if sent else 1)


@clause('MQTT-3.1.3-7')
def test_assigned_client_identifier():
    """It is the client's from then on: in what -d says, and when it comes back."""
    with Peer() as peer, start(peer, 'sub', '-t', 'a', '-d') as p:
        c = peer.take()
        c.subscribed(props={'assigned_client_id': 'made-up'})
        p.printed(b'Client made-up received SUBACK')


@clause('MQTT-3.1.2-23', 'MQTT-4.1.0-1', 'MQTT311-4.1.0-1', 'MQTT311-4.1.0-2')
@modern
def test_a_kept_session_comes_back(version):
    """The client asks for it again, under the same identifier."""
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-q', '2', '-c', '-i', 'me') as p:
        c = peer.take()
        connect = c.expect(CONNECT)
        assert not connect.connect_flags & 2
        assert connect.props.get('session_expiry') == (0xffffffff if version == 5 else None)
        c.connack()
        c.suback(c.expect(SUBSCRIBE))
        # QoS 2 is half delivered when the connection breaks ...
        c.publish('a', b'once', qos=2, mid=7)
        p.printed(b'once\n')
        c.reset()
        c = peer.take()
        again = c.expect(CONNECT)
        assert again.raw == connect.raw
        c.connack(session=True)
        c.suback(c.expect(SUBSCRIBE))
        # ... and the other half shows that the first is remembered.
        c.publish('a', b'once', qos=2, mid=7, dup=True)
        c.publish('a', b'new')
        p.printed(b'new\n')
        assert p.out == b'once\nnew\n'
