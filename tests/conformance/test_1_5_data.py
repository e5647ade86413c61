# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 1.5: data representation."""
import pytest

from clauses import clause
from kit import (MALFORMED, NO_PROPS, Peer, ack, connect_bytes, connect_refused, connected, publish,
                 props_of, refused, subscribe, unsubscribe)
from raw import (AUTH, CONNACK, DISCONNECT, PINGREQ, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK,
                 UNSUBACK, packet, properties, string, varint)

pytestmark = pytest.mark.usefixtures('unharmed')

ILL_FORMED = {
    'stray continuation': b'a\x80b', 'never valid': b'a\xffb', 'overlong 2': b'\xc0\xaf',
    'overlong 3': b'\xe0\x80\xaf', 'overlong 4': b'\xf0\x80\x80\xaf', 'truncated': b'a\xe2\x82',
    'above 10FFFF': b'\xf4\x90\x80\x80', 'five bytes': b'\xf8\x88\x80\x80\x80',
    'D800': b'a\xed\xa0\x80', 'DFFF': b'\xed\xbf\xbfb', 'surrogate pair': b'\xed\xa0\x81\xed\xb0\x80',
}
NUL = {'NUL': b'a\x00b', 'only NUL': b'\x00', 'NUL at the end': b'a\x00'}
# Good: two to four bytes, the edges of what is left out, a byte order mark.
WELL_FORMED = ['é', '€', '\U0001f600', '\ud7ff\ue000', '\U00010000', '\ufeffx\ufeff']


def will(topic=b'w', props=NO_PROPS, payload=b'p'):
    return string('c') + props + string(topic) + string(payload)


def pair(name=b'n', value=b'v'):
    return properties({'user_property': (name, value)})


# Every UTF-8 string of the packets that begin a connection.
IN_CONNECT = {
    'client identifier': lambda s: connect_bytes(payload=string(s)),
    'user name': lambda s: connect_bytes(flags=0x82, payload=string('c') + string(s)),
    'user property name': lambda s: connect_bytes(props=pair(name=s)),
    'user property value': lambda s: connect_bytes(props=pair(value=s)),
    'authentication method': lambda s: connect_bytes(props=props_of(auth_method=s)),
    'will topic': lambda s: connect_bytes(flags=0x06, payload=will(topic=s)),
    'will content type': lambda s: connect_bytes(flags=0x06, payload=will(props=props_of(content_type=s))),
    'will response topic': lambda s: connect_bytes(
        flags=0x06, payload=will(props=props_of(response_topic=s))),
    'will user property name': lambda s: connect_bytes(flags=0x06, payload=will(props=pair(name=s))),
    'will user property value': lambda s: connect_bytes(flags=0x06, payload=will(props=pair(value=s))),
}
# ... and of all others that a client may send.
AFTERWARDS = {
    'PUBLISH topic': lambda s: publish(s),
    'PUBLISH content type': lambda s: publish(props=props_of(content_type=s)),
    'PUBLISH response topic': lambda s: publish(props=props_of(response_topic=s)),
    'PUBLISH user property name': lambda s: publish(props=pair(name=s)),
    'PUBLISH user property value': lambda s: publish(props=pair(value=s)),
    'SUBSCRIBE filter': lambda s: subscribe((s, 0)),
    'SUBSCRIBE second filter': lambda s: subscribe(('good', 0), (s, 0)),
    'SUBSCRIBE user property name': lambda s: subscribe(('t', 0), props=pair(name=s)),
    'SUBSCRIBE user property value': lambda s: subscribe(('t', 0), props=pair(value=s)),
    'UNSUBSCRIBE filter': lambda s: unsubscribe(s),
    'UNSUBSCRIBE second filter': lambda s: unsubscribe('good', s),
    'UNSUBSCRIBE user property name': lambda s: unsubscribe('t', props=pair(name=s)),
    'UNSUBSCRIBE user property value': lambda s: unsubscribe('t', props=pair(value=s)),
    'DISCONNECT reason': lambda s: packet(DISCONNECT, 0, b'\x00' + props_of(reason_string=s)),
    'DISCONNECT user property': lambda s: packet(DISCONNECT, 0, b'\x00' + pair(value=s)),
    'AUTH method': lambda s: packet(AUTH, 0, b'\x18' + props_of(auth_method=s)),
}
for _name, _kind in (('PUBACK', PUBACK), ('PUBREC', PUBREC), ('PUBREL', PUBREL), ('PUBCOMP', PUBCOMP)):
    AFTERWARDS[_name + ' reason'] = \
        lambda s, kind=_kind: ack(kind, 9, b'\x00' + props_of(reason_string=s))
    AFTERWARDS[_name + ' user property'] = lambda s, kind=_kind: ack(kind, 9, b'\x00' + pair(name=s))


def is_pair(field):
    return [clause('MQTT-1.5.7-1')] if 'user property' in field else []


def cases(fields, extra):
    """One test a field; the clauses of its own besides those of UTF-8."""
    return [pytest.param(f, marks=[*is_pair(f), *([clause(extra[f])] if f in extra else [])])
            for f in fields]


OWN_CONNECT = {'will topic': 'MQTT-3.1.3-11', 'user name': 'MQTT-3.1.3-12'}
OWN = {'PUBLISH topic': 'MQTT-3.3.2-1', 'PUBLISH content type': 'MQTT-3.3.2-19',
       'PUBLISH response topic': 'MQTT-3.3.2-13', 'SUBSCRIBE filter': 'MQTT-3.8.3-1',
       'SUBSCRIBE second filter': 'MQTT-3.8.3-1', 'UNSUBSCRIBE filter': 'MQTT-3.10.3-1',
       'UNSUBSCRIBE second filter': 'MQTT-3.10.3-1'}
OWN_NUL = {f: 'MQTT-4.7.3-2' for f in ('PUBLISH topic', 'SUBSCRIBE filter', 'UNSUBSCRIBE filter')}


def all_refused_in_connect(broker, field, strings):
    for s in strings:
        with Peer(broker.port) as c:
            c.send(IN_CONNECT[field](s))
            connect_refused(c, MALFORMED)


def all_refused_later(broker, field, strings):
    for s in strings:
        with connected(broker, 'strings') as c:
            c.send(AFTERWARDS[field](s))
            refused(c, MALFORMED)


@clause('MQTT-1.5.4-1', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('field', cases(IN_CONNECT, OWN_CONNECT))
def test_ill_formed_in_connect(broker, field):
    all_refused_in_connect(broker, field, ILL_FORMED.values())


@clause('MQTT-1.5.4-1', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('field', cases(AFTERWARDS, OWN))
def test_ill_formed_later(broker, field):
    all_refused_later(broker, field, ILL_FORMED.values())


@clause('MQTT-1.5.4-2', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('field', cases(IN_CONNECT, {}))
def test_nul_in_connect(broker, field):
    all_refused_in_connect(broker, field, NUL.values())


@clause('MQTT-1.5.4-2', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('field', cases(AFTERWARDS, OWN_NUL))
def test_nul_later(broker, field):
    all_refused_later(broker, field, NUL.values())


@clause('MQTT-1.5.4-1')
@pytest.mark.parametrize('field', cases(IN_CONNECT, OWN_CONNECT))
def test_well_formed_in_connect(broker, field):
    """The other side of the rule: what is well formed comes in."""
    for s in WELL_FORMED:
        with Peer(broker.port) as c:
            c.send(IN_CONNECT[field](s))
            # no such method is there, which is no fault of its encoding
            assert c.expect(CONNACK).code == (0x8c if 'method' in field else 0), s


@clause('MQTT-1.5.4-1')
@pytest.mark.parametrize('field', cases([f for f in AFTERWARDS if not f.startswith(('DISC', 'AUTH'))],
                                        OWN))
def test_well_formed_later(broker, field):
    with connected(broker, 'strings') as c:
        for s in WELL_FORMED:
            c.send(AFTERWARDS[field](s) + packet(PINGREQ, 0, b''))
            kinds = {'SUB': [SUBACK], 'UNS': [UNSUBACK]}.get(field[:3], [])
            if field.startswith(('PUBREC', 'PUBREL')):	# an exchange that nobody began
                kinds = [PUBREL if field.startswith('PUBREC') else PUBCOMP]
            got = [c.recv().kind for _ in range(len(kinds) + 1)]
            assert got == kinds + [13], s


@clause('MQTT-1.5.4-3', 'MQTT-4.7.3-4')
def test_byte_order_mark_stays(broker, topic):
    """U+FEFF is a character like others in topics, identifiers and strings."""
    mark = '\ufeff'
    props = {'content_type': mark + 'a', 'response_topic': 'r' + mark,
             'user_property': [(mark + 'n', mark), ('n', 'v' + mark)]}
    with connected(broker, 'bom', props={'session_expiry': 30}) as plain, \
            connected(broker, mark + 'bom') as other:
        plain.subscribe(topic, mark + topic, topic + mark)
        for name in (mark + topic, topic + mark, topic):
            other.publish(name, name, props=props)
        got = [plain.message() for _ in range(3)]
        assert [m.topic for m in got] == [mark + topic, topic + mark, topic]
        assert all(m.payload == m.topic.encode() and m.props == props for m in got)
        plain.unsubscribe(topic)
        other.publish(topic, 'x')
        other.publish(mark + topic, 'y')
        assert plain.message().payload == b'y'
        plain.disconnect(props={'session_expiry': 0})


def long_form(n, extra=1):
    """A variable byte integer in more bytes than needed."""
    out = bytearray(varint(n))
    for _ in range(extra):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


LONG_LENGTHS = {
    'PINGREQ': b'\xc0' + long_form(0),
    'PINGREQ, four bytes': b'\xc0' + long_form(0, 3),
    'PUBLISH': b'\x30' + long_form(5) + string('t') + NO_PROPS + b'p',
    'PUBLISH properties': publish(props=long_form(0)),
    'PUBLISH property': publish(props=varint(3) + b'\x81\x00\x01'),
    'SUBSCRIBE properties': subscribe(('t', 0), props=long_form(0)),
    'SUBSCRIBE identifier': subscribe(('t', 0), props=varint(3) + b'\x0b' + long_form(5)),
    'UNSUBSCRIBE properties': unsubscribe('t', props=long_form(0)),
    'PUBACK properties': ack(PUBACK, 1, b'\x00' + long_form(0)),
    'PUBREC properties': ack(PUBREC, 1, b'\x00' + long_form(0)),
    'PUBREL properties': ack(PUBREL, 1, b'\x00' + long_form(0)),
    'PUBCOMP properties': ack(PUBCOMP, 1, b'\x00' + long_form(0)),
    'DISCONNECT properties': packet(DISCONNECT, 0, b'\x00' + long_form(0)),
    'five bytes': b'\xc0\x80\x80\x80\x80\x00',
    'five bytes, large': b'\x30\xff\xff\xff\xff\x01',
}


@clause('MQTT-1.5.5-1', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('what', LONG_LENGTHS)
def test_integer_longer_than_needed(broker, what):
    with connected(broker, 'long-form') as c:
        c.send(LONG_LENGTHS[what])
        refused(c, MALFORMED)


@clause('MQTT-1.5.5-1')
@pytest.mark.parametrize('what', ['properties', 'will properties'])
def test_integer_longer_than_needed_in_connect(broker, what):
    data = connect_bytes(props=long_form(0)) if what == 'properties' else \
        connect_bytes(flags=0x06, payload=will(props=long_form(0)))
    with Peer(broker.port) as c:
        c.send(data)
        connect_refused(c, MALFORMED)


@clause('MQTT-1.5.5-1')
@pytest.mark.parametrize('size', [127, 128, 16383, 16384])
def test_integers_at_their_edges(broker, topic, size):
    """Lengths around each step, both ways; Peer looks at how the broker writes
    them.  Remaining length, property length and subscription identifier."""
    with connected(broker, 'edges', props={}) as c:
        c.subscribe(topic, props={'subscription_id': size})
        overhead = 2 + len(topic) + 1
        c.publish(topic, b'x' * (size - overhead))
        assert c.message().props == {'subscription_id': [size]}
        room = size - (1 + len(varint(size))) - 1 - 2 - 2	# that many bytes of properties
        for n in (room - 1, room, room + 1):
            c.publish(topic, b'', props={'user_property': ('', 'v' * n)})
            m = c.message()
            assert m.props['user_property'] == [('', 'v' * n)] and m.kind == PUBLISH
