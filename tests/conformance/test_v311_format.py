# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1.1 and 3.1, chapters 1 and 2 and the fixed headers of chapter 3:
strings, flags, packet identifiers; and what a broken rule costs."""
import pytest

from clauses import clause
from exact import (BOTH, GOODBYE, PINGREQ, PINGRESP, WELCOME, connack, puback, pubcomp, publish,
                   pubrec, pubrel, suback, subscribe, unsuback, unsubscribe)
from raw import connect_packet, packet, string

# name: bytes that are no UTF-8 string of MQTT
ILL_FORMED = {
    'a lone continuation': b'a\x80b', 'cut short': b'a\xc3', 'overlong': b'a\xc0\xaf',
    'overlong NUL': b'a\xc0\x80', 'a high surrogate': b'a\xed\xa0\x80',
    'a low surrogate': b'a\xed\xbf\xbf', 'a pair of surrogates': b'\xed\xa0\xbd\xed\xb8\x80',
    'above U+10FFFF': b'\xf4\x90\x80\x80', 'five bytes': b'\xf8\x88\x80\x80\x80', 'FF': b'a\xff',
}
NUL = {'NUL alone': b'\x00', 'NUL inside': b'a\x00b', 'NUL last': b'a\x00'}
STRINGS = pytest.mark.parametrize('bad', [
    *(pytest.param(v, id=k, marks=clause('MQTT311-1.5.3-1', 'MQTT31-2.5-1'))
      for k, v in ILL_FORMED.items()),
    *(pytest.param(v, id=k, marks=clause('MQTT311-1.5.3-2')) for k, v in NUL.items())])


@BOTH
@STRINGS
@clause('MQTT311-4.7.3-2', 'MQTT311-3.3.2-1')
def test_ill_formed_topic_name(peers, version, bad):
    c = peers()
    c.send(publish(bad, b'x', 1, 1) + PINGREQ)
    c.want_end()


@BOTH
@STRINGS
@clause('MQTT311-4.7.3-2')
def test_ill_formed_filter(peers, version, bad):
    for sent in (subscribe(1, ('a', 0), (bad, 0)), unsubscribe(1, 'a', bad)):
        c = peers()
        c.send(sent + PINGREQ)
        c.want_end()


@BOTH
@STRINGS
@clause('MQTT311-3.1.4-1', 'MQTT31-3.1-14')
@pytest.mark.parametrize('field', ['client identifier', "will's topic", 'user name'])
def test_ill_formed_connect(peers, version, bad, field):
    """No CONNACK: the CONNECT is not well formed."""
    kw = {'client identifier': {'client_id': bad}, "will's topic": {'will': (bad,)},
          'user name': {'username': bad, 'password': b'x'}}[field]
    c = peers.raw()
    c.send(connect_packet(**{'client_id': peers.id(), **kw}, version=version) + PINGREQ)
    c.want_end()


@BOTH
@clause('MQTT311-1.5.3-1', 'MQTT31-2.5-1')
@pytest.mark.parametrize('good', ['\u0001', '\u007f', '\u0080', '\u07ff', '\u0800', '\ud7ff', '\ue000',
                                  '\ufffd', '\uffff', '\U00010000', '\U0010ffff', 'blåbär/日本/🦉'])
def test_well_formed_strings(peers, version, topic, good):
    """The borders of what is well formed go through unchanged."""
    c, name = peers(), f'{topic}/{good}'
    c.talk(subscribe(1, (name, 0)), suback(1, 0))
    c.send(publish(name, b'x'))
    c.want(publish(name, b'x'))


@BOTH
@clause('MQTT311-1.5.3-3', 'MQTT311-4.7.3-4')
def test_byte_order_mark_is_a_character(peers, version, topic):
    """With and without U+FEFF are two names, and it stays where it is."""
    c, marked, plain = peers(), '\ufeff' + topic, topic
    c.talk(subscribe(1, (marked, 0)), suback(1, 0))
    c.send(publish(plain, b'plain') + publish(marked, b'marked'))
    c.want(publish(b'\xef\xbb\xbf' + topic.encode(), b'marked'))
    c.talk(subscribe(2, (plain, 0)), suback(2, 0))
    c.send(publish(marked, b'1') + publish(plain, b'2'))
    c.want(publish(marked, b'1'), publish(plain, b'2'))


FLAGS_OF = {'CONNACK': 0x20, 'PUBACK': 0x40, 'PUBREC': 0x50, 'PUBREL': 0x62, 'PUBCOMP': 0x70,
            'SUBSCRIBE': 0x82, 'UNSUBSCRIBE': 0xa2, 'PINGREQ': 0xc0, 'DISCONNECT': 0xe0}
BODY_OF = {'PUBACK': b'\x00\x01', 'PUBREC': b'\x00\x01', 'PUBREL': b'\x00\x01',
           'PUBCOMP': b'\x00\x01', 'SUBSCRIBE': b'\x00\x01\x00\x01a\x00',
           'UNSUBSCRIBE': b'\x00\x01\x00\x01a', 'PINGREQ': b'', 'DISCONNECT': b''}
MORE = {'PUBREL': 'MQTT311-3.6.1-1', 'SUBSCRIBE': 'MQTT311-3.8.1-1',
        'UNSUBSCRIBE': 'MQTT311-3.10.1-1', 'DISCONNECT': 'MQTT311-3.14.1-1'}


@clause('MQTT311-2.2.2-1', 'MQTT311-2.2.2-2', 'MQTT311-4.8.0-1')
@pytest.mark.parametrize('kind', [
    pytest.param(k, marks=clause(MORE[k]) if k in MORE else ()) for k in BODY_OF])
def test_reserved_flags(peers, kind):
    """Each of the fifteen wrong values ends the connection without an answer;
    the right one does what the packet is for."""
    first, body = FLAGS_OF[kind], BODY_OF[kind]
    for flags in range(16):
        if flags == first & 0xf:
            continue
        c = peers()
        c.send(bytes([first & 0xf0 | flags, len(body)]) + body + PINGREQ)
        c.want_end()
        c.close()
    c, right = peers(), packet(first >> 4, first & 0xf, body)
    answer = {'PUBREL': pubcomp(1), 'SUBSCRIBE': suback(1, 0), 'UNSUBSCRIBE': unsuback(1),
              'PINGREQ': PINGRESP, 'PUBREC': pubrel(1)}.get(kind, b'')
    if kind == 'DISCONNECT':
        c.send(right)
        c.want_end()
    else:
        c.talk(right, answer)


@clause('MQTT311-3.14.4-3', 'MQTT311-3.14.1-1')
def test_wrong_goodbye_is_none(peers, topic):
    """A DISCONNECT with reserved bits is no DISCONNECT: the will is sent."""
    watcher = peers('watcher')
    watcher.talk(subscribe(1, (topic, 0)), suback(1, 0))
    c = peers('will', will=(topic, b'gone'))
    c.send(b'\xe1\x00')
    c.want_end()
    watcher.want(publish(topic, b'gone'))


@BOTH
@clause('MQTT311-3.3.1-4', 'MQTT31-2.1-3')
@pytest.mark.parametrize('flags', [0x06, 0x07, 0x0e, 0x0f])
def test_qos_3(peers, version, topic, flags):
    watcher = peers('watcher')
    watcher.talk(subscribe(1, (topic, 2)), suback(1, 2))
    c = peers()
    c.send(packet(3, flags, string(topic) + b'\x00\x01x') + PINGREQ)
    c.want_end()
    watcher.talk(publish(topic, b'end'), publish(topic, b'end'))


@BOTH
@clause('MQTT311-2.3.1-1', 'MQTT31-2.4-1')
@pytest.mark.parametrize('sent', [
    pytest.param(publish('t', b'x', 1, 0), id='PUBLISH 1'),
    pytest.param(publish('t', b'x', 2, 0), id='PUBLISH 2'),
    pytest.param(subscribe(0, ('a', 0)), id='SUBSCRIBE'),
    pytest.param(unsubscribe(0, 'a'), id='UNSUBSCRIBE')])
def test_identifier_0(peers, version, sent):
    c = peers()
    c.send(sent + PINGREQ)
    c.want_end()


@BOTH
@clause('MQTT311-2.3.1-6', 'MQTT311-2.3.1-7', 'MQTT31-2.4-1')
@pytest.mark.parametrize('mid', [1, 255, 256, 0x1234, 65535])
def test_answers_have_the_identifier(peers, version, topic, mid):
    c = peers()
    c.talk(publish(topic, b'x', 1, mid), puback(mid))
    c.talk(publish(topic, b'x', 2, mid), pubrec(mid))
    c.talk(pubrel(mid), pubcomp(mid))
    c.talk(subscribe(mid, (topic, 1)), suback(mid, 1))
    c.talk(unsubscribe(mid, topic), unsuback(mid))


@BOTH
@clause('MQTT311-2.3.1-5', 'MQTT31-3.3-2')
def test_no_identifier_at_qos_0(peers, version, topic):
    """What would be the identifier is payload, in both directions."""
    c = peers()
    c.talk(subscribe(1, (topic, 2)), suback(1, 2))
    c.talk(publish(topic, b'\x00\x07'), publish(topic, b'\x00\x07'))
    c.talk(publish(topic), publish(topic))


@BOTH
@clause('MQTT31-2.1-7')
@pytest.mark.parametrize('size', [0, 1, 127, 128, 16383, 16384, 300000])
def test_remaining_lengths(peers, version, topic, size):
    """Of PUBLISH, each side of each border; the same bytes come back."""
    c = peers()
    c.talk(subscribe(1, (topic, 0)), suback(1, 0))
    same = publish(topic, b'x' * max(0, size - 2 - len(topic)))
    c.talk(same, same)


@BOTH
@clause('MQTT311-2.2.2-2', 'MQTT31-2.1-7', 'MQTT311-4.8.0-1')
@pytest.mark.parametrize('length', [b'\x80\x80\x80\x80\x00', b'\xff\xff\xff\xff\x7f',
                                    b'\xff\xff\xff\xff\xff'])
def test_remaining_length_of_five_bytes(peers, version, length):
    c = peers()
    c.send(b'\x30' + length)
    c.want_end()


# What no client may say; each is a protocol violation.
VIOLATIONS = {
    'type 0': b'\x00\x00', 'type 15': b'\xf0\x00', 'CONNACK': WELCOME, 'SUBACK': suback(1, 0),
    'UNSUBACK': unsuback(1), 'PINGRESP': PINGRESP,
    'PINGREQ with a body': b'\xc0\x01x', 'DISCONNECT with a body': b'\xe0\x01\x00',
    'PUBACK cut short': b'\x40\x01\x00', 'PUBACK without an identifier': b'\x40\x00',
    'PUBACK with a reason code': b'\x40\x03\x00\x01\x00',
    'PUBREC with a reason code': b'\x50\x03\x00\x01\x00',
    'PUBREL with a reason code': b'\x62\x03\x00\x01\x00',
    'PUBCOMP with a reason code': b'\x70\x03\x00\x01\x00',
    'PUBLISH without a topic': b'\x30\x00', 'PUBLISH cut in its topic': b'\x30\x03\x00\x05a',
    'PUBLISH cut in its identifier': b'\x32\x04\x00\x01a\x00',
    'SUBSCRIBE cut in its filter': b'\x82\x05\x00\x01\x00\x04a',
    'SUBSCRIBE without a QoS': b'\x82\x05\x00\x01\x00\x01a',
    'UNSUBSCRIBE cut in its filter': b'\xa2\x05\x00\x01\x00\x04a',
}


@BOTH
@clause('MQTT311-4.8.0-1')
@pytest.mark.parametrize('sent', [pytest.param(v, id=k) for k, v in VIOLATIONS.items()])
def test_violations_end_the_connection(peers, version, topic, sent):
    """That one only, at once, and without a DISCONNECT, which is not the
    server's to send; the will is published, as the client did not leave."""
    watcher = peers('watcher')
    watcher.talk(subscribe(1, (topic, 0)), suback(1, 0))
    c = peers('bad', will=(topic, b'gone'))
    c.send(sent + PINGREQ)
    c.want_end()
    watcher.want(publish(topic, b'gone'))
    watcher.talk(b'')


@BOTH
@clause('MQTT311-7.0.0-2')
def test_every_packet_to_the_byte(peers, version, topic):
    """A whole conversation with nothing in it but the specification's, and
    every byte of the broker's known beforehand: no properties, no codes."""
    c = peers('all')
    c.talk(subscribe(10, (topic + '/0', 0), (topic + '/1', 1), (topic + '/2', 2)),
           suback(10, 0, 1, 2))
    c.talk(publish(topic + '/0', b'zero'), publish(topic + '/0', b'zero'))
    c.send(publish(topic + '/1', b'one', 1, 20))
    first = c.take(4)
    if first == puback(20):
        c.want(publish(topic + '/1', b'one', 1, 1))
    else:
        rest = publish(topic + '/1', b'one', 1, 1)[4:]
        c.want(rest, puback(20))
    c.talk(puback(1), b'')
    c.talk(unsubscribe(11, topic + '/0', topic + '/1'), unsuback(11))
    other = peers('other')
    other.talk(publish(topic + '/2', b'two', 2, 65535), pubrec(65535))
    other.talk(pubrel(65535), pubcomp(65535))
    two = c.take(len(publish(topic + '/2', b'two', 2, 2)))
    mid = int.from_bytes(two[-5:-3], 'big')
    assert two == publish(topic + '/2', b'two', 2, mid) and mid
    c.talk(pubrec(mid), pubrel(mid))
    c.talk(pubcomp(mid))
    c.send(GOODBYE)
    c.want_end()


@clause('MQTT311-3.2.2-4')
@pytest.mark.parametrize('version', [4, 3])
def test_refusals_are_four_bytes(peers, version):
    c = peers.raw()
    c.send(connect_packet('', version, clean=False) + PINGREQ)
    c.want_end(connack(2))
