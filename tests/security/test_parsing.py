# SPDX-License-Identifier: Apache-2.0
"""Cases 1 to 13 and 15 of the threats: bytes that are not what they should be.

Each test says how the connection ends and with which code, that the log has a
line about it, and that two other clients talk on meanwhile."""
import contextlib
import os
import random
import socket
import struct
import subprocess
import threading

import pytest

import harness
from attack import (MALFORMED, MIB, PROTOCOL, QUOTA, TOO_LARGE, fate, is_closed, publish_packet,
                    reset, subscribe_packet, told, unharmed)
from harness import HOST
from raw import (CONNACK, CONNECT, DISCONNECT, PUBACK, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBSCRIBE,
                 Closed, Raw, connect_packet, packet, properties, string, varint)

BAD_TOPIC, BAD_FILTER, BAD_ALIAS, BAD_VERSION = 0x90, 0x8f, 0x94, 0x84
GOOD = connect_packet('x')


def first(b, data, want, why=None):
    """The first bytes of a connection: it is closed; a client that is one is
    told `want` by CONNACK."""
    start = b.log_size()
    with Raw(b.port) as c:
        c.send(data)
        with contextlib.suppress(OSError):
            c.sock.shutdown(socket.SHUT_WR)
        assert fate(c) == want
    told(b, start, why or r'Client 127\.0\.0\.1:\d+ not accepted|Connection from 127\.0\.0\.1:\d+ closed',
         most=3)		# the bystanders and the harness come and go, too


def after(b, data, want, why=None):
    """What follows a good CONNECT: DISCONNECT with `want`, and the end."""
    start = b.log_size()
    with Raw(b.port) as c:
        c.connect('abuser')
        c.send(data)
        assert fate(c) == want
        assert is_closed(c)
    told(b, start, why or 'Client abuser disconnected: ', most=1)


@pytest.mark.parametrize('name, data, want', [
    ('five bytes', b'\x10\xff\xff\xff\xff\x01', None),
    ('256 MiB', b'\x10\xff\xff\xff\x7f' + b'x' * 100, None),
    ('above CONNECT_MAX', b'\x10' + varint(300_000) + b'x' * 100, None),
], ids=lambda v: v if isinstance(v, str) else None)
def test_case_01_remaining_length_of_connect(plain, name, data, want):
    with unharmed(plain):
        first(plain, data, want)


@pytest.mark.parametrize('name, data, want', [
    ('five bytes', b'\x30\xff\xff\xff\xff\x01', MALFORMED),
    ('256 MiB', b'\x30\xff\xff\xff\x7f' + b'x' * 100, TOO_LARGE),
    ('above max_packet_size', b'\x30' + varint(2_000_001) + b'x', TOO_LARGE),
], ids=lambda v: v if isinstance(v, str) else None)
def test_case_01_remaining_length_after_connect(plain, name, data, want):
    with unharmed(plain):
        after(plain, data, want)


def test_case_01_memory_follows_what_arrived(lean):
    """200 clients announce 1.9 MB each (380 MB) and send 100 bytes of it."""
    with contextlib.ExitStack() as open_, unharmed(lean, grows=4 * MIB):
        for i in range(200):
            c = open_.enter_context(Raw(lean.port))
            c.connect(f'announces-{i}')
            c.send(b'\x30' + varint(1_900_000) + string('t') + b'\0' + b'x' * 100)


@pytest.mark.parametrize('name, data', [
    ('PUBLISH', publish_packet()), ('SUBSCRIBE', subscribe_packet(('t', 0))),
    ('PINGREQ', b'\xc0\x00'), ('DISCONNECT', b'\xe0\x00'), ('AUTH', b'\xf0\x00'),
    ('CONNACK', packet(CONNACK, 0, b'\0\0\0')), ('type 0', b'\x00\x00'),
    ('zeros', b'\x00' * 1000), ('text', b'hello, broker\n' * 100),
    ('HTTP', b'GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
    ('TLS', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + b'x' * 600),
    ('huge PUBLISH', b'\x30\xff\xff\xff\x7f' + b'x' * 1000),
], ids=lambda v: v if isinstance(v, str) else None)
def test_case_02_no_connect_first(plain, name, data):
    """[MQTT-3.1.0-1]: closed without a word, for nobody is there to tell."""
    with unharmed(plain):
        first(plain, data, None)


@pytest.mark.parametrize('name, data', [
    ('CONNECT', connect_packet('x')), ('CONNACK', packet(CONNACK, 0, b'\0\0\0')),
    ('SUBACK', packet(9, 0, b'\0\1\0\0')), ('UNSUBACK', packet(11, 0, b'\0\1\0\0')),
    ('PINGRESP', b'\xd0\x00'), ('AUTH', packet(15, 0, b'\x18\x00')),
], ids=lambda v: v if isinstance(v, str) else None)
def test_case_02_packet_out_of_place(plain, name, data):
    """[MQTT-3.1.0-2]; what only a server says."""
    with unharmed(plain):
        after(plain, data, PROTOCOL)


@pytest.mark.parametrize('name, data, want', [
    ('flags', b'\x11' + GOOD[1:], None),
    ('empty', packet(CONNECT, 0, b''), None),
    ('reserved flag', GOOD.replace(b'MQTT\x05\x02', b'MQTT\x05\x03'), MALFORMED),
    ('will QoS without will', GOOD.replace(b'MQTT\x05\x02', b'MQTT\x05\x0a'), MALFORMED),
    ('will QoS 3', connect_packet('x', will=('w', b'', 3)), MALFORMED),
    ('trailing bytes', packet(CONNECT, 0, GOOD[2:] + b'junk'), MALFORMED),
    ('property twice', connect_packet('x', props={'session_expiry': [1, 2]}), PROTOCOL),
    ('receive maximum 0', connect_packet('x', props={'receive_maximum': 0}), PROTOCOL),
    ('maximum packet size 0', connect_packet('x', props={'maximum_packet_size': 0}), PROTOCOL),
    ('property of PUBLISH', connect_packet('x', props={'topic_alias': 1}), MALFORMED),
    ('auth data alone', connect_packet('x', props={'auth_data': b'x'}), PROTOCOL),
], ids=lambda v: v if isinstance(v, str) else None)
def test_case_03_bad_connect(plain, name, data, want):
    with unharmed(plain):
        first(plain, data, want)


@pytest.mark.parametrize('name, data, want', [
    ('twice', publish_packet(props=properties({'message_expiry': [1, 2]})), PROTOCOL),
    ('unknown', publish_packet(props=b'\x02\x7f\x00'), MALFORMED),
    ('of CONNECT', publish_packet(props=properties({'session_expiry': 1})), MALFORMED),
    ('format 2', publish_packet(props=properties({'payload_format': 2})), PROTOCOL),
    ('subscription id', publish_packet(props=properties({'subscription_id': 1})), PROTOCOL),
    ('truncated topic', packet(PUBLISH, 0, b'\x00\x10abc'), MALFORMED),
    ('truncated properties', packet(PUBLISH, 0, b'\x00\x01a\x7f\x01'), MALFORMED),
    ('length past the packet', packet(PUBLISH, 0, b'\x00\x01a\xff\xff\xff\x7f'), MALFORMED),
    ('QoS 3', publish_packet(qos=3), MALFORMED),
    ('DUP at QoS 0', publish_packet(flags=8), MALFORMED),
    ('id 0', publish_packet(qos=1, mid=0), PROTOCOL),
    ('PINGREQ with body', b'\xc0\x01x', MALFORMED),
    ('PINGREQ with flags', b'\xc1\x00', MALFORMED),
    ('type 0', b'\x00\x00', MALFORMED),
    ('PUBREL flags 0', packet(PUBREL, 0, b'\0\1'), MALFORMED),
    ('PUBACK empty', packet(PUBACK, 0, b''), MALFORMED),
    ('PUBREC bad code', packet(PUBREC, 0, b'\0\1\x77'), PROTOCOL),
    ('DISCONNECT flags', b'\xe1\x00', MALFORMED),
], ids=lambda v: v if isinstance(v, str) else None)
def test_case_03_bad_packet(plain, name, data, want):
    with unharmed(plain):
        after(plain, data, want)


WHOLE = {
    'CONNECT': connect_packet('trunc', props={'session_expiry': 9, 'user_property': [('a', 'b')]},
                              will=('w', b'p', 1, True, {'will_delay': 3, 'content_type': 'x'}),
                              username='u', password='p'),
    'PUBLISH': publish_packet(b'trunc/t', 2, props=properties(
        {'message_expiry': 5, 'correlation_data': b'123', 'user_property': [('k', 'v')]}),
        payload=b'hello'),
    'SUBSCRIBE': subscribe_packet(('trunc/#', 1), ('$share/g/x', 2),
                                  props=properties({'subscription_id': 300})),
    'UNSUBSCRIBE': packet(UNSUBSCRIBE, 2, b'\0\1' + properties({'user_property': [('k', 'v')]})
                          + string('trunc/#') + string('b')),
    'PUBREL': packet(PUBREL, 2, b'\0\1\x92' + properties({'reason_string': 'why'})),
    'DISCONNECT': packet(DISCONNECT, 0, b'\x04' + properties({'session_expiry': 5,
                                                             'reason_string': 'bye'})),
}


@pytest.mark.parametrize('name', WHOLE)
def test_case_03_every_truncation(plain, name):
    """Each prefix of a good packet, with the length made to fit: refused as
    malformed or as a protocol error, or complete by itself."""
    data = WHOLE[name]
    with unharmed(plain):
        for n in range(len(data) - 2):
            with Raw(plain.port) as c:
                if name != 'CONNECT':
                    c.connect('trunc')
                with contextlib.suppress(OSError):
                    c.send(bytes([data[0]]) + varint(n) + data[2:2 + n])
                    c.send(b'\xe0\x00')
                assert fate(c) in (MALFORMED, PROTOCOL, BAD_VERSION, 0x92, None)


def test_case_03_memory(lean):
    """3,000 bad packets leave nothing behind (CVE-2023-3592)."""
    bad = publish_packet(props=properties({'user_property': [('k' * 100, 'v' * 100)] * 20,
                                           'message_expiry': [1, 2]}))
    start = lean.log_size()
    with unharmed(lean, grows=3 * MIB):
        for _ in range(3000):
            with Raw(lean.port) as c:
                c.send(connect_packet('leaks') + bad)
                assert fate(c) == PROTOCOL
    told(lean, start, 'Client leaks disconnected: protocol error', most=3000)


def test_case_03_noise(plain):
    """A thousand connections of noise, seeded so that it can be repeated."""
    rng = random.Random(20)
    with unharmed(plain):
        for i in range(1000):
            with Raw(plain.port) as c, contextlib.suppress(OSError):
                if i % 2:
                    c.send(connect_packet(f'noise-{i}'))
                c.send(bytes([rng.choice([0x10, 0x30, 0x32, 0x34, 0x62, 0x82, 0xa2, rng.randrange(256)])])
                       + varint(rng.randrange(40)) + rng.randbytes(40))


def test_case_03_publisher_dies_in_the_middle(plain, topic):
    """Half a PUBLISH and a reset: nobody hears a half."""
    with unharmed(plain), Raw(plain.port) as s:
        s.connect('hears')
        s.subscribe(topic)
        for _ in range(20):
            with Raw(plain.port) as p:
                p.connect('dies')
                p.send(publish_packet(topic, payload=b'y' * 5000)[:3000])
                reset(p.sock)
        with Raw(plain.port) as p:
            p.connect('lives')
            p.publish(topic, 'whole')
        assert s.message().payload == b'whole'


@pytest.mark.parametrize('count, want', [(10_000, 0), (10_001, TOO_LARGE), (100_000, TOO_LARGE)])
def test_case_04_user_properties(start_both, topic, count, want):
    """PROPS_USER_MAX of them are taken and passed on, more are refused."""
    b = start_both()
    props = varint(5 * count) + b'\x26\0\0\0\0' * count
    with unharmed(b, grows=4 * MIB), Raw(b.port) as c:
        c.connect('props')
        c.subscribe(topic)
        start = b.log_size()
        c.send(publish_packet(topic, 1, props=props))
        if want == 0:
            assert {c.recv().kind for _ in range(2)} == {PUBACK, PUBLISH}
            return
        assert fate(c) == want
        told(b, start, 'Client props disconnected: too large', most=1)


def test_case_05_empty_topic(plain):
    """CVE-2021-34432"""
    with unharmed(plain):
        after(plain, publish_packet(b''), PROTOCOL)
        after(plain, publish_packet(b'', 2), PROTOCOL)


NOT_UTF8 = {
    'NUL': b'a\x00b', 'invalid': b'\xff\xfe', 'overlong slash': b'\xc0\xaf',
    'overlong NUL': b'\xc0\x80', 'surrogate': b'\xed\xa0\x80', 'above U+10FFFF': b'\xf4\x90\x80\x80',
    'cut': b'\xe2\x82',
}


@pytest.mark.parametrize('name', NOT_UTF8)
def test_case_06_strings_not_utf8(plain, name):
    """CVE-2017-7653, in every place a string can stand."""
    s = NOT_UTF8[name]
    with unharmed(plain):
        first(plain, connect_packet(s), MALFORMED)
        first(plain, connect_packet('x', username=s), MALFORMED)
        first(plain, connect_packet('x', will=(s, b'')), MALFORMED)
        for data in (publish_packet(s), subscribe_packet((s, 0)),
                     packet(UNSUBSCRIBE, 2, b'\0\1\0' + string(s)),
                     publish_packet(props=properties({'content_type': s})),
                     publish_packet(props=properties({'user_property': [(s, 'v')]}))):
            after(plain, data, MALFORMED)


@pytest.mark.parametrize('name, data, want', [
    ('hash', publish_packet(b'a/#'), BAD_TOPIC),
    ('plus', publish_packet(b'a/+'), BAD_TOPIC),
    ('plus inside', publish_packet(b'a+b', 1), BAD_TOPIC),
    ('response topic', publish_packet(props=properties({'response_topic': 'a/#'})), PROTOCOL),
], ids=lambda v: v if isinstance(v, str) else None)
def test_case_07_wildcards_in_publish(plain, name, data, want):
    with unharmed(plain):
        after(plain, data, want)


def test_case_07_wildcard_in_will(plain):
    with unharmed(plain):
        first(plain, connect_packet('x', will=('a/#', b'')), BAD_TOPIC)


@pytest.mark.parametrize('name, data, want', [
    ('empty', subscribe_packet(), PROTOCOL),
    ('flags 0', subscribe_packet(('t', 0), flags=0), MALFORMED),
    ('id 0', subscribe_packet(('t', 0), mid=0), PROTOCOL),
    ('QoS 3', subscribe_packet(('t', 3)), PROTOCOL),
    ('reserved bits', subscribe_packet(('t', 0xc0)), MALFORMED),
    ('retain handling 3', subscribe_packet(('t', 0x30)), PROTOCOL),
    ('identifier 0', subscribe_packet(('t', 0), props=b'\x02\x0b\x00'), PROTOCOL),
    ('UNSUBSCRIBE empty', packet(UNSUBSCRIBE, 2, b'\0\1\0'), PROTOCOL),
    ('UNSUBSCRIBE flags 0', packet(UNSUBSCRIBE, 0, b'\0\1\0' + string('t')), MALFORMED),
], ids=lambda v: v if isinstance(v, str) else None)
def test_case_08_bad_subscribe(plain, name, data, want):
    with unharmed(plain):
        after(plain, data, want)


@pytest.mark.parametrize('f', ['a/#/b', 'a+/b', '#a', '', 'a/b#'])
def test_case_08_bad_filter(plain, f):
    """The one filter is refused, the others and the connection go on."""
    with unharmed(plain), Raw(plain.port) as c:
        c.connect('filters')
        if f:
            assert c.subscribe(('good', 0), (f, 0), ('fine', 1)) == [0, BAD_FILTER, 1]
        else:
            assert c.subscribe((f, 0))[0] == BAD_FILTER
        c.ping()


def alias(n, topic=b''):
    return publish_packet(topic, props=properties({'topic_alias': n}))


@pytest.mark.parametrize('name, data, want', [
    ('zero', alias(0, b't'), BAD_ALIAS), ('above the maximum', alias(11, b't'), BAD_ALIAS),
    ('largest', alias(65535, b't'), BAD_ALIAS), ('not set', alias(3), PROTOCOL),
], ids=lambda v: v if isinstance(v, str) else None)
def test_case_09_topic_alias(plain, name, data, want):
    """The CONNACK offered 10."""
    with unharmed(plain):
        after(plain, data, want)


@pytest.mark.parametrize('f', ['$share', '$share/', '$share/g', '$share//t', '$share/g/', '$share/+/t',
                               '$share/#/t', '$share/g#/t', '$share/g/a/#/b'])
def test_case_10_malformed_share(plain, topic, f):
    """Refused, and the client is still served."""
    with unharmed(plain), Raw(plain.port) as c:
        c.connect('shares')
        assert c.subscribe((f, 1)) == [BAD_FILTER]
        assert c.subscribe(topic) == [0]
        c.publish(topic, 'served')
        assert c.message().payload == b'served'


def test_case_10_no_local_share(plain):
    """[MQTT-3.8.3-4]"""
    with unharmed(plain):
        after(plain, subscribe_packet(('$share/g/t', 4)), PROTOCOL)


def test_case_10_shared_and_plain_are_two(plain, topic):
    """Unsubscribing one of them leaves the other."""
    with unharmed(plain), Raw(plain.port) as c:
        c.connect('both')
        shared = '$share/g/' + topic
        assert c.subscribe(topic, shared) == [0, 0]
        assert c.unsubscribe('$share/h/' + topic, shared, shared) == [0x11, 0, 0x11]
        c.publish(topic, 'one')
        assert c.message().payload == b'one'
        c.silent(0.2)
        assert c.subscribe(shared) == [0]
        assert c.unsubscribe(topic, topic) == [0, 0x11]
        c.publish(topic, 'two')
        assert c.message().payload == b'two'
        c.silent(0.2)


def conversation(topic):
    return (connect_packet('same') + subscribe_packet((topic, 1)) + publish_packet(topic, 1, payload=b'one')
            + publish_packet(topic, 2, mid=2, payload=b'two') + b'\xc0\x00')


@pytest.mark.parametrize('chunk', [1, 2, 7, 1000], ids=lambda n: f'{n} bytes')
def test_case_11_pieces(plain, topic, chunk):
    """The same packets in pieces of any size: the same answers."""
    data = conversation(topic)
    with unharmed(plain), Raw(plain.port) as c:
        for at in range(0, len(data), chunk):
            c.send(data[at:at + chunk])
        kinds = [c.recv().kind for _ in range(7)]
        assert sorted(kinds) == [CONNACK, PUBLISH, PUBLISH, PUBACK, PUBREC, SUBACK, 13]
        assert kinds[:2] == [CONNACK, SUBACK]


def test_case_11_thousands_in_one_write(plain, topic):
    with unharmed(plain), Raw(plain.port) as c:
        c.connect('bulk')
        c.subscribe(topic)
        c.send(b''.join(publish_packet(topic, payload=str(i).encode()) for i in range(5000)))
        assert [int(c.message().payload) for _ in range(5000)] == list(range(5000))


def test_case_12_dollar_topics(plain):
    """CVE-2018-12543: any first level that begins with $ is a topic like
    others for who names it, but $SYS is the broker's."""
    with unharmed(plain), Raw(plain.port) as c:
        c.connect('dollar')
        for t in ('$', '$x', '$/x', '$$', '$SHARE/g/t', '$share', '$SYSx', '$queue/t', '$\u20ac'):
            if not t.startswith('$share'):
                assert c.subscribe(t) == [0], t
            c.publish(t, 'x', 1)
            got = [c.recv() for _ in range(1 if t.startswith('$share') else 2)]
            assert all(p.kind in (PUBLISH, PUBACK) for p in got)
    with Raw(plain.port) as c:
        c.connect('dollar')
        assert c.subscribe('+/x', '#/') == [0, BAD_FILTER]
        c.publish('$y/x', 'not for +')
        c.silent(0.2)
        start = plain.log_size()
        assert c.publish_acked('$SYS/broker/uptime', 'x') == 0x87
        told(plain, start, r"Publish of dollar to '\$SYS/broker/uptime' refused", most=1)


def hostile_broker(answers):
    """Listens once, and answers each packet type with fixed bytes; None: hangs
    up."""
    listener = socket.create_server((HOST, 0))

    def serve():
        with contextlib.suppress(OSError):
            sock, _ = listener.accept()
            sock.settimeout(harness.PATIENCE)
            while data := sock.recv(4096):
                for answer in answers.get(data[0] >> 4, ()):
                    sock.sendall(answer) if answer else sock.close()
        listener.close()
    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


WELCOME = packet(CONNACK, 0, b'\0\0\0')


@pytest.mark.parametrize('name, answers', [
    ('empty SUBACK', {1: [WELCOME], 8: [packet(SUBACK, 0, b'')]}),
    ('SUBACK without codes', {1: [WELCOME], 8: [packet(SUBACK, 0, b'\0\1\0')]}),
    ('SUBACK of two codes', {1: [WELCOME], 8: [packet(SUBACK, 0, b'\0\1\0\0\0')]}),
    ('SUBACK of another', {1: [WELCOME], 8: [packet(SUBACK, 0, b'\0\7\0\0')]}),
    ('256 MiB', {1: [WELCOME], 8: [b'\x30\xff\xff\xff\x7f' + b'x' * 9999, None]}),
    ('length of five bytes', {1: [WELCOME], 8: [b'\x30\xff\xff\xff\xff\x01']}),
    ('CONNACK twice', {1: [WELCOME, WELCOME]}),
    ('PUBLISH first', {1: [publish_packet()]}),
    ('CONNECT', {1: [connect_packet('x')]}),
    ('empty CONNACK', {1: [packet(CONNACK, 0, b'')]}),
    ('noise', {1: [bytes(range(256)) * 4]}),
], ids=lambda v: v if isinstance(v, str) else None)
def test_case_13_hostile_broker(name, answers, tmp_path):
    """Our client ends with an error, in time, without a word of a sanitizer,
    and without the memory that was announced (CVE-2024-10525)."""
    port = hostile_broker(answers)
    run = subprocess.run([harness.NIGHTJAR, 'sub', '-h', HOST, '-p', str(port), '-V', '5', '-t', 't',
                          '-W', '2', '-C', '1'], stdin=subprocess.DEVNULL, capture_output=True,
                         timeout=harness.PATIENCE, check=False, cwd=tmp_path)
    assert not harness.SANITIZER.search(run.stderr.decode('utf-8', 'replace')), run.stderr
    assert run.returncode not in (0, -6, -11), run
    assert run.returncode > 0 and run.stdout == b''


DEEP = {'slashes': '/' * 65400, 'levels': 'a/' * 32700, '201 slashes': '/' * 201}


@pytest.mark.parametrize('name', DEEP)
def test_case_15_deep_topics(plain, name):
    """65,400 levels (CVE-2019-11779): refused by name; 201 are served."""
    deep = DEEP[name]
    with unharmed(plain):
        after(plain, publish_packet(deep), BAD_TOPIC)
        after(plain, publish_packet(deep, flags=1, payload=b'x'), BAD_TOPIC)
        first(plain, connect_packet('x', will=(deep, b'')), BAD_TOPIC)
        with Raw(plain.port) as c:
            c.connect('deep')
            assert c.subscribe((deep, 0), (deep[:-2] + '/#', 0), ('$share/g/' + deep, 0))[0] == BAD_FILTER
            assert set(c.unsubscribe(deep, 'x')) == {BAD_FILTER, 0x11}
            c.ping()


def test_case_15_deepest_that_is_served(plain):
    with unharmed(plain), Raw(plain.port) as c:
        c.connect('deepest')
        for t in ('/' * 200, 'x' * 65535, 'a/' * 200 + 'b'):
            assert c.subscribe(t) == [0]
            c.publish(t, 'x', retain=True)
            assert c.message().topic == t
            c.publish(t, '', retain=True)
            assert c.message().topic == t


def test_case_15_memory(lean):
    """Refusing deep topics keeps nothing."""
    data = publish_packet('/' * 65400)
    with unharmed(lean, grows=3 * MIB):
        for _ in range(300):
            with Raw(lean.port) as c:
                c.connect('deep')
                c.send(data)
                assert fate(c) == BAD_TOPIC
