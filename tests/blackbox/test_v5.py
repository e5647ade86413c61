# SPDX-License-Identifier: Apache-2.0
"""What MQTT 5.0 adds: properties, aliases, identifiers, limits, reason codes."""
import time

import pytest

import pahoc
from raw import DISCONNECT, PUBACK, PUBLISH, PUBREC, Closed, Raw, connect_packet

NO_LOCAL = 0x04


@pytest.fixture
def client(broker):
    with Raw(broker.port) as c:
        c.connect('five', props={'topic_alias_maximum': 0})
        yield c


def test_properties_travel(client, topic):
    """[MQTT-3.3.2-4], [-15], [-16], [-17], [-20]; user properties in order
    [MQTT-3.3.2-18]."""
    props = {'payload_format': 1, 'content_type': 'text/plain', 'response_topic': 'reply/to',
             'correlation_data': b'\x00\x01\xff',
             'user_property': [('b', '1'), ('a', '2'), ('b', '3'), ('', '')]}
    client.subscribe(topic)
    client.publish(topic, 'x', props=props)
    assert client.message().props == props


def test_paho_properties(broker, topic):
    with pahoc.Client(broker.port, 'paho5') as c:
        c.subscribe(topic, 1)
        c.publish(topic, b'x', 1, properties=pahoc.props(
            'PUBLISH', ContentType='a/b', ResponseTopic='r', CorrelationData=b'c',
            UserProperty=[('k', 'v')]))
        p = c.message().properties
        assert (p.ContentType, p.ResponseTopic, p.CorrelationData) == ('a/b', 'r', b'c')
        assert p.UserProperty == [('k', 'v')]


def test_message_expiry_counts_down(broker, client, topic):
    """[MQTT-3.3.2-5], [-6]"""
    with Raw(broker.port) as c:
        c.connect('expiry', props={'session_expiry': 60})
        c.subscribe(topic, qos=1)
        c.disconnect()
    client.publish_acked(topic, 'short', 1, props={'message_expiry': 1})
    before = time.monotonic()
    client.publish_acked(topic, 'long', 1, props={'message_expiry': 100})
    time.sleep(2.2)
    with Raw(broker.port) as c:
        c.connect('expiry', clean=False)
        m = c.message()
        least = 100 - (time.monotonic() - before) - 1
        assert m.payload == b'long' and least <= m.props['message_expiry'] <= 98


def test_alias_to_the_broker(broker, topic):
    with Raw(broker.port) as c:
        limit = c.connect('alias').props.get('topic_alias_maximum', 0)
        assert limit >= 1
        c.subscribe(topic + '/#')
        c.publish(topic + '/1', 'a', props={'topic_alias': 1})
        c.publish('', 'b', props={'topic_alias': 1})
        c.publish(topic + '/2', 'c', props={'topic_alias': 1})	# a new meaning
        c.publish('', 'd', props={'topic_alias': 1})
        got = [(m.topic, m.payload) for m in (c.message() for _ in range(4))]
        assert got == [(topic + '/1', b'a'), (topic + '/1', b'b'),
                       (topic + '/2', b'c'), (topic + '/2', b'd')]


def test_alias_is_not_passed_on(client, broker, topic):
    """An alias belongs to one connection [MQTT-3.3.2-7]."""
    client.subscribe(topic)
    client.publish(topic, 'x', props={'topic_alias': 1})
    m = client.message()
    assert m.topic == topic and 'topic_alias' not in m.props


@pytest.mark.parametrize('alias', [pytest.param('zero', marks=pytest.mark.ours), 'over', 'unset'])
def test_bad_alias(broker, topic, alias):
    """[MQTT-3.3.2-8], [-9]: 0x94 above the maximum; else a protocol error."""
    with Raw(broker.port) as c:
        limit = c.connect('bad-alias').props.get('topic_alias_maximum', 0)
        number = {'zero': 0, 'over': limit + 1, 'unset': limit}[alias]
        c.publish('' if alias == 'unset' else topic, 'x', props={'topic_alias': number})
        assert c.closed() in ({0x94} if alias == 'over' else {0x82, 0x94})


@pytest.mark.ours
def test_alias_to_the_client(broker, topic):
    """The broker uses the aliases that a client offers, and no others
    [MQTT-3.1.2-26]."""
    names = [f'{topic}/{i}' for i in range(5)]
    with Raw(broker.port) as c:
        c.connect('offers', props={'topic_alias_maximum': 2})
        c.subscribe(topic + '/#')
        for n in names:
            for _ in range(3):
                c.publish(n, n)
        known, saved = {}, 0
        for _ in range(15):
            m = c.message()
            alias = m.props.get('topic_alias')
            assert alias is None or 1 <= alias <= 2
            if m.topic:
                if alias:
                    known[alias] = m.topic
                name = m.topic
            else:
                saved += 1
                name = known[alias]
            assert name.encode() == m.payload
        assert saved > 0


@pytest.mark.ours
def test_what_fits_without_an_alias_comes(broker, topic):
    """[MQTT-3.1.2-25] is for packets that are too large; an alias need not be."""
    size = 100
    with Raw(broker.port) as c, Raw(broker.port) as p:
        c.connect('tight', props={'topic_alias_maximum': 2, 'maximum_packet_size': size})
        c.subscribe(topic, qos=1)
        p.connect('fills')
        for more in (1, 0, -3, 100, -2):
            p.publish_acked(topic, b'x' * (size - 2 - 2 - len(topic) - 2 - 1 + more), 1)
        got = [c.message() for _ in range(3)]
        assert [len(m.body) + 2 for m in got[:2]] == [size, size]
        assert got[-1].props['topic_alias'] and not got[-1].topic
        c.silent(0.2)


@pytest.mark.ours
def test_large_messages_begin_no_alias(broker, topic):
    """An alias must not keep a large message in memory."""
    with Raw(broker.port) as c:
        c.connect('large', props={'topic_alias_maximum': 2})
        c.subscribe(topic)
        for n in (100000, 100000, 10, 100000):
            c.publish(topic, b'x' * n)
        got = [(m.topic, m.props.get('topic_alias')) for m in (c.message() for _ in range(4))]
        assert got == [(topic, None), (topic, None), (topic, 1), ('', 1)]


def test_subscription_identifiers(client, topic):
    """[MQTT-3.3.4-3], [-4]: all that match, in one message or in several."""
    client.subscribe(topic + '/#', props={'subscription_id': 7})
    client.subscribe(topic + '/a', props={'subscription_id': 268435455})
    client.subscribe(topic + '/+')
    client.publish(topic + '/a', 'x')
    ids = []
    while len(ids) < 2:
        ids += client.message().props.get('subscription_id', [])
    for m in client.gather(0):
        ids += m.props.get('subscription_id', [])
    assert sorted(ids) == [7, 268435455]


@pytest.mark.ours
def test_every_overlapping_subscription_is_named(client, topic):
    """However many: one message, every identifier once [MQTT-3.3.4-3], [-4]."""
    levels = [f'l{i}' for i in range(10)]
    filters = ['/'.join([topic, *('+' if n >> i & 1 else level for i, level in enumerate(levels))])
               for n in range(1 << len(levels))]
    for i, f in enumerate(filters):
        client.subscribe(f, qos=1 if i == 700 else 0, props={'subscription_id': 1000 + i})
    client.publish('/'.join([topic, *levels]), b'x', 1)
    client.wait_for(PUBACK)
    m = client.message()
    assert m.qos == 1
    assert sorted(m.props['subscription_id']) == [1000 + i for i in range(len(filters))]
    client.silent()


def test_subscription_identifier_is_replaced(client, topic):
    client.subscribe(topic, props={'subscription_id': 1})
    client.subscribe(topic, props={'subscription_id': 2})
    client.publish(topic, 'x')
    assert client.message().props['subscription_id'] == [2]


def test_no_local(broker, client, topic):
    """[MQTT-3.8.3-3]"""
    client.subscribe((topic, NO_LOCAL))
    client.publish(topic, 'own')
    with Raw(broker.port) as other:
        other.connect('other')
        other.publish(topic, 'other')
        assert client.message().payload == b'other'
        client.silent(0.2)


def test_maximum_packet_size_of_the_client(broker, topic):
    """Too large for the receiver: dropped, as if it were delivered
    [MQTT-3.1.2-24], [-25]."""
    with Raw(broker.port) as c:
        c.connect('small', props={'maximum_packet_size': 200})
        c.subscribe(topic, qos=1)
        with Raw(broker.port) as p:
            p.connect('small-pub')
            p.publish_acked(topic, 'x' * 500, 1)
            p.publish_acked(topic, 'fits', 1)
        assert c.message().payload == b'fits'


def test_maximum_packet_size_of_the_broker(brokers, topic):
    """Announced, and 0x95 beyond it [MQTT-3.2.2-15]."""
    b = brokers('max_packet_size 1000\n')
    with Raw(b.port) as c:
        assert c.connect('big').props['maximum_packet_size'] == 1000
        c.subscribe(topic)
        c.publish(topic, 'x' * 700)
        assert len(c.message().payload) == 700
        c.publish(topic, 'x' * 1100)
        assert c.closed() == 0x95


def test_server_keep_alive(brokers):
    """[MQTT-3.1.2-21]: the broker's word holds."""
    b = brokers('max_keepalive 10\n')
    with Raw(b.port) as c:
        assert c.connect('ka', keepalive=3600).props['server_keep_alive'] == 10
    with Raw(b.port) as c:
        assert 'server_keep_alive' not in c.connect('ka', keepalive=5).props


@pytest.mark.ours
def test_publish_reasons(client, topic):
    """0x10 where nobody subscribes, 0 where somebody does (3.4.2.1); a PUBREC
    may keep it to itself."""
    assert client.publish_acked(topic, 'x', 1) == 0x10
    assert client.publish_acked(topic, 'x', 2) in (0, 0x10)
    client.subscribe(topic)
    assert client.publish_acked(topic, 'x', 1) == 0
    assert client.publish_acked(topic, 'x', 2) == 0


def test_connack_says_nothing_false(broker):
    """Absent means available (3.2.2.3); what is there is a legal value."""
    with Raw(broker.port) as c:
        p = c.connect('limits').props
        assert p.get('maximum_qos', 2) in (0, 1, 2)
        assert p.get('receive_maximum', 65535) > 0
        assert p.get('maximum_packet_size', 1) > 0
        for name in ('retain_available', 'wildcard_available', 'subscription_ids_available',
                     'shared_available'):
            assert p.get(name, 1) == 1


def test_unsupported_version(broker):
    """[MQTT-3.1.2-2]"""
    with Raw(broker.port) as c:
        c.version = 5
        data = bytearray(connect_packet('v6'))
        data[8] = 6
        c.send(bytes(data))
        assert c.closed() in (0x84, 1, None)


def test_unknown_auth_method(broker):
    """0x8C [MQTT-4.12.0-1]"""
    with Raw(broker.port) as c:
        c.send(connect_packet('auth', props={'auth_method': 'SCRAM-SHA-1', 'auth_data': b'n,,'}))
        assert c.closed() == 0x8c


@pytest.mark.parametrize('props', [
    {'receive_maximum': 0}, {'maximum_packet_size': 0}, {'request_problem': 2},
    {'session_expiry': [1, 2]}, {'topic_alias': 1},
    pytest.param({'auth_data': b'x'}, marks=pytest.mark.ours),
])
def test_bad_connect_properties(broker, props):
    with Raw(broker.port) as c:
        c.send(connect_packet('bad', props=props))
        assert c.closed() in (0x81, 0x82, None)
    with Raw(broker.port) as c:
        c.connect('after-bad')


def test_maximum_qos(brokers, topic):
    """max_qos: announced, 0x9B beyond it [MQTT-3.2.2-11], granted less."""
    b = brokers('max_qos 1\n')
    with Raw(b.port) as c:
        assert c.connect('mq').props['maximum_qos'] == 1
        assert c.subscribe(topic, qos=2) in ([1], [2])
        c.publish(topic, 'x', 2)
        assert c.closed() == 0x9b


def test_flow_with_a_small_window(broker, topic):
    """Receive Maximum 1 delivers all, one by one, both QoS levels."""
    with Raw(broker.port) as c:
        c.connect('one', props={'receive_maximum': 1})
        c.subscribe(topic, qos=2)
        with Raw(broker.port) as p:
            p.connect('one-pub')
            for i in range(20):
                p.publish_acked(topic, str(i), 1 + i % 2)
        assert [int(c.message().payload) for _ in range(20)] == list(range(20))


def test_disconnect_from_a_client_with_reason(broker):
    with Raw(broker.port) as c:
        c.connect('reasoned')
        c.disconnect(0x81, {'reason_string': 'because', 'user_property': [('k', 'v')]})
    with Raw(broker.port) as c:
        c.connect('after')


def test_puback_for_unknown_message_is_ignored(client):
    """Acknowledgements of what was never sent do no harm."""
    client.ack(PUBACK, 1234)
    client.ping()
    client.ack(PUBREC, 1234)
    try:
        p = client.recv()
        assert p.kind in (6, DISCONNECT)	# PUBREL 0x92, or the connection ends
    except Closed:
        pass


@pytest.mark.ours
def test_response_information(brokers):
    """Only to whom asks [MQTT-3.1.2-28], as a topic that he can use."""
    broker = brokers('response_information answers/to\n')
    with Raw(broker.port) as c:
        props = c.connect('a/b+#%', props={'request_response': 1}).props
        assert props['response_info'] == 'answers/to/a%2Fb%2B%23%25'
        c.subscribe(props['response_info'])
        c.publish(props['response_info'], b'yes')
        assert c.message().payload == b'yes'
    for ask in ({'request_response': 0}, {}):
        with Raw(broker.port) as c:
            assert 'response_info' not in c.connect('x', props=ask).props


def test_request_response(broker, topic):
    """Request and response as 4.10 describes it."""
    with pahoc.Client(broker.port, 'server') as s, pahoc.Client(broker.port, 'asker') as a:
        s.subscribe(topic + '/q', 1)
        a.subscribe(topic + '/r', 1)
        a.publish(topic + '/q', b'2+2', 1, properties=pahoc.props(
            'PUBLISH', ResponseTopic=topic + '/r', CorrelationData=b'17'))
        q = s.message()
        s.publish(q.properties.ResponseTopic, b'4', 1, properties=pahoc.props(
            'PUBLISH', CorrelationData=q.properties.CorrelationData))
        r = a.message()
        assert (r.payload, r.properties.CorrelationData) == (b'4', b'17')


def test_upgraded_dup_is_not_passed_on(broker, client, topic):
    """[MQTT-3.3.1-3]"""
    client.subscribe(topic, qos=1)
    with Raw(broker.port) as p:
        p.connect('dup-pub')
        mid = p.publish(topic, 'x', 1, dup=True)
        assert p.expect(PUBACK).mid == mid
    assert client.expect(PUBLISH).dup is False
