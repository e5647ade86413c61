# SPDX-License-Identifier: Apache-2.0
"""What one listener sets apart from another: addresses and interfaces, and the
limits, versions and names of who comes by it."""
import contextlib
import socket
import ssl

import pytest

import passwords
from harness import HOST, free_port, wait_until
from raw import CONNACK, Closed, Raw, connect_packet

ours = pytest.mark.ours


def accepts(host, port):
    try:
        with socket.create_connection((host, port), 3):
            return True
    except OSError:
        return False


def interface():
    """Name and IPv4 address of an interface that is not loopback."""
    import fcntl
    import struct
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _, name in socket.if_nameindex():
            try:
                got = fcntl.ioctl(s, 0x8915, struct.pack('256s', name.encode()))  # SIOCGIFADDR
            except OSError:
                continue
            address = socket.inet_ntoa(got[20:24])
            if not address.startswith('127.') and accepts_nothing(address):
                return name, address
    return None, None


def accepts_nothing(address):
    """Whether the address is ours: something can be bound to it."""
    with socket.socket() as s:
        try:
            s.bind((address, 0))
            return True
        except OSError:
            return False


# -- addresses --

def test_interface_of_this_machine(brokers):
    port = free_port()
    brokers(f'listener {port}\nbind_interface lo\n', extra_ports=[port])
    _, address = interface()
    assert accepts('127.0.0.1', port)
    if address:
        assert not accepts(address, port)


def test_address_of_the_default_listener(brokers):
    """As Mosquitto 1 had it."""
    port = free_port()
    b = brokers('', start=False)
    with open(b.conf_path, encoding='utf-8') as f:
        rest = f.read()
    with open(b.conf_path, 'w', encoding='utf-8') as f:
        f.write(f'port {port}\nbind_address 127.0.0.2\nallow_anonymous true\n{rest}')
    b.start()
    wait_until(lambda: accepts('127.0.0.2', port), 'it listens there')
    assert not accepts('127.0.0.1', port)
    with Raw(port, host='127.0.0.2') as c:
        c.connect('there')


def test_interface_of_a_network(brokers):
    name, address = interface()
    if not name:
        pytest.skip('no interface but loopback')
    port = free_port()
    b = brokers(f'listener {port}\nbind_interface {name}\n')
    wait_until(lambda: accepts(address, port), 'it listens there')
    assert not accepts('127.0.0.1', port)
    with Raw(port, host=address) as c:
        c.connect('by-its-address')
    assert b.alive()


@ours
@pytest.mark.parametrize('conf,why', [
    ('listener {port}\nbind_interface no-such-if0\n', 'there is no interface no-such-if0'),
    ('listener {port} 127.0.0.1\nbind_interface {name}\n', 'does not have the address 127.0.0.1'),
    ('listener {port} 192.0.2.77\nbind_interface lo\n', 'does not have the address 192.0.2.77'),
])
def test_interface_that_does_not_fit(brokers, conf, why):
    name, _ = interface()
    if '{name}' in conf and not name:
        pytest.skip('no interface but loopback')
    brokers(conf.format(port=free_port(), name=name), start=False).refuses(why)


@pytest.mark.parametrize('domain,there,not_there', [
    ('ipv4', '127.0.0.1', '::1'), ('ipv6', '::1', '127.0.0.1')])
def test_socket_domain(brokers, domain, there, not_there):
    if not socket.has_ipv6:
        pytest.skip('no IPv6')
    port = free_port()
    brokers(f'listener {port}\nsocket_domain {domain}\n')
    wait_until(lambda: accepts(there, port), 'it listens')
    assert not accepts(not_there, port)


@ours
def test_domain_and_address_disagree(brokers):
    brokers(f'listener {free_port()} 127.0.0.1\nsocket_domain ipv6\n', start=False).refuses('127.0.0.1')


# -- names that the broker gives --

def given(port):
    """The name of a client that has none."""
    with Raw(port) as c:
        return c.connect('').props['assigned_client_id']


@ours
def test_prefix_of_given_names(brokers):
    """Of one listener alone, that of all the others, and what a reload brings."""
    one, two = free_port(), free_port()
    own = 'listener_auto_id_prefix own-\n'
    b = brokers(f'auto_id_prefix all-\nlistener {one} {HOST}\n{own}listener {two} {HOST}\n', extra_ports=[one, two])
    with Raw(one, version=4) as c:	# 3.1.1 is not told, and has it as well
        c.connect('')
        b.wait_log('New client connected from .* as own-')
    assert [given(p)[:4] for p in (b.port, one, two)] == ['all-', 'own-', 'all-']
    with open(b.conf_path, encoding='utf-8') as f:
        text = f.read()
    b.write_conf(text.replace(own, '').replace(f'listener {two} {HOST}\n',
                                               f'listener {two} {HOST}\nlistener_auto_id_prefix new-\n'))
    b.reload()
    assert [given(p)[:4] for p in (b.port, one, two)] == ['all-', 'all-', 'new-']


# -- max_qos --

@pytest.fixture(scope='module')
def levels(base_folder):
    """Ports with max_qos 0, 1 and 2 on one broker."""
    from conftest import Factory
    factory = Factory(base_folder)
    ports = [free_port() for _ in range(2)]
    b = factory(f'max_qos 0\nlistener {ports[0]} {HOST}\nmax_qos 1\nlistener {ports[1]} {HOST}\n',
                extra_ports=ports)
    b.levels = [b.port, *ports]
    yield b
    factory.finish()


@pytest.mark.parametrize('limit', [0, 1, 2])
def test_max_qos_is_told(levels, limit):
    """[MQTT-3.2.2-9]; the default is not said."""
    with Raw(levels.levels[limit]) as c:
        ack = c.connect('told')
        assert ack.props.get('maximum_qos') == (limit if limit < 2 else None)
    for version in (3, 4):
        with Raw(levels.levels[limit], version=version) as c:
            assert c.connect('told').props == {}


@pytest.mark.parametrize('version', [3, 4, 5])
@pytest.mark.parametrize('limit', [0, 1, 2])
def test_max_qos_of_subscriptions(levels, topic, version, limit):
    """Granted at most, and delivered so [MQTT-3.2.2-10]."""
    with Raw(levels.levels[limit], version=version) as c, Raw(levels.levels[2]) as p:
        c.connect('sub')
        p.connect('pub')
        for qos in (0, 1, 2):
            assert c.subscribe(topic, qos=qos) == [min(qos, limit)]
        p.publish_acked(topic, b'x', 2)
        assert c.message().qos == limit


@pytest.mark.parametrize('version', [3, 4, 5])
@pytest.mark.parametrize('limit', [0, 1, 2])
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_max_qos_of_messages(levels, topic, version, limit, qos):
    """[MQTT-3.2.2-11]: 0x9B, and older clients are cut off; what is above is
    not delivered, and nobody else suffers."""
    with Raw(levels.levels[2]) as s:
        s.connect('sees')
        s.subscribe(topic, qos=2)
        with Raw(levels.levels[limit], version=version) as c:
            c.connect('pub')
            if qos <= limit:
                c.publish_acked(topic, b'x', qos)
                assert s.message().qos == qos
                return
            c.publish(topic, b'x', qos)
            assert c.closed() == (0x9b if version == 5 else None)
        s.silent(0.2)
        s.ping()


@pytest.mark.parametrize('version', [3, 4, 5])
@pytest.mark.parametrize('limit', [0, 1])
def test_max_qos_of_wills(levels, version, limit):
    """[MQTT-3.2.2-12]"""
    with Raw(levels.levels[limit], version=version) as c:
        c.send(connect_packet('w', version, will=('w', b'x', limit + 1, False)))
        code = c.closed()
        if version == 5:
            assert code == 0x9b
        else:
            assert code != 0
    with Raw(levels.levels[limit], version=version) as c:
        c.connect('w', will=('w', b'x', limit, False))


@ours
def test_max_qos_changes_with_the_listener(levels, topic):
    """A session that comes to a narrower listener keeps what it has; what it
    subscribes to from then on is granted there."""
    with Raw(levels.levels[2]) as c:
        c.connect('roams', clean=False, props={'session_expiry': 60})
        assert c.subscribe(topic, qos=2) == [2]
    with Raw(levels.levels[0]) as c:
        assert c.connect('roams', clean=False, props={'session_expiry': 0}).session_present
        assert c.subscribe(topic, qos=2) == [0]
        with Raw(levels.levels[2]) as p:
            p.connect('p')
            p.publish_acked(topic, b'x', 2)
        assert c.message().qos == 0


@pytest.mark.parametrize('value', ['3', '-1', 'x'])
def test_bad_max_qos(brokers, value):
    brokers(f'max_qos {value}\n', start=False).refuses('')


# -- topic aliases --

@ours
@pytest.mark.parametrize('limit', [0, 1, 5, 65535])
def test_max_topic_alias(brokers, topic, limit):
    b = brokers(f'max_topic_alias {limit}\n')
    with Raw(b.port) as c:
        assert c.connect('in').props.get('topic_alias_maximum', 0) == limit
        c.subscribe(topic)
        if limit:
            c.publish(topic, b'x', props={'topic_alias': limit})
            assert c.message().payload == b'x'
            c.publish('', b'y', props={'topic_alias': limit})
            assert c.message().payload == b'y'
        if limit < 65535:
            c.publish(topic, b'z', props={'topic_alias': limit + 1})
            assert c.closed() == 0x94


@ours
@pytest.mark.parametrize('ours_,theirs', [(0, 5), (2, 5), (5, 2), (5, 0), (65535, 3)])
def test_max_topic_alias_broker(brokers, topic, ours_, theirs):
    b = brokers(f'max_topic_alias_broker {ours_}\n')
    with Raw(b.port) as c:
        c.connect('out', props={'topic_alias_maximum': theirs})
        c.subscribe(f'{topic}/#')
        seen = set()
        for i in range(8):
            c.publish(f'{topic}/{i}', b'x')
            seen.add(c.message().props.get('topic_alias', 0))
        assert max(seen) == min(ours_, theirs)


# -- connections, versions, who may come in --

@ours
def test_max_connections_is_the_listeners(brokers):
    port = free_port()
    b = brokers(f'max_connections 2\nlistener {port} {HOST}\n', extra_ports=[port])
    with contextlib.ExitStack() as stack:
        held = []

        def comes_in():
            c = stack.enter_context(Raw(b.port))
            with contextlib.suppress(Closed, OSError):
                c.connect(f'c{len(held)}')
                held.append(c)
            return len(held) == 2
        wait_until(comes_in, 'the knock at the start is gone')
        for i in range(4):
            stack.enter_context(Raw(port)).connect(f'other{i}')
        assert not fits(b.port)
        assert fits(port)
        for c in held:
            c.ping()


def fits(port):
    try:
        with Raw(port) as c:
            c.connect('fits')
        return True
    except (Closed, OSError, AssertionError):
        return False


@ours
@pytest.mark.parametrize('allowed', ['3', '4', '5', '3,4', '4, 5', '3 5'])
def test_accept_protocol_versions(brokers, allowed):
    """The others are told 0x84, in the form of their version."""
    port = free_port()
    b = brokers(f'accept_protocol_versions {allowed}\nlistener {port} {HOST}\n', extra_ports=[port])
    for version in (3, 4, 5):
        with Raw(b.port, version=version) as c:
            c.send(connect_packet('c', version))
            code = c.expect(CONNACK).code
            if str(version) in allowed:
                assert code == 0
                c.ping()
            else:
                assert code == (0x84 if version == 5 else 1)
                assert c.closed() is None
        with Raw(port, version=version) as c:
            c.connect('c')


@ours
def test_per_listener_settings(brokers, tmp_path):
    """Each listener has users of its own."""
    port, last = free_port(), free_port()
    for name in ('red', 'blue'):
        path = tmp_path / name
        path.write_text(passwords.sha512(name, 'right'))
        path.chmod(0o600)
    tmp_path.chmod(0o755)
    first = free_port()
    b = brokers('per_listener_settings true\n'
                f'listener {first} {HOST}\npassword_file {tmp_path}/red\n'
                f'listener {port} {HOST}\npassword_file {tmp_path}/blue\nallow_anonymous true\n'
                f'listener {last} {HOST}\nallow_anonymous false\n',
                listener=False, anonymous=False, port=first, extra_ports=[port, last])

    def login(at, name):
        kw = {'username': name, 'password': 'right'} if name else {}
        with Raw(at) as c:
            c.send(connect_packet(f'{name}-at-{at}', **kw))
            return c.expect(CONNACK).code
    assert [login(first, n) for n in ('red', 'blue', None)] == [0, 0x87, 0x87]
    assert [login(port, n) for n in ('red', 'blue', None)] == [0x87, 0, 0]
    assert [login(last, n) for n in ('red', 'blue', None)] == [0x87, 0x87, 0x87]
    assert b.alive()


@ours
def test_listener_allow_anonymous(brokers):
    port = free_port()
    b = brokers(f'allow_anonymous false\nlistener {port} {HOST}\nlistener_allow_anonymous true\n',
                anonymous=False, extra_ports=[port])
    with Raw(b.port) as c:
        c.send(connect_packet('c'))
        assert c.expect(CONNACK).code == 0x87
    with Raw(port) as c:
        c.connect('c')


@ours
def test_limits_of_a_reload(brokers, topic):
    """What one listener allows can change while it serves."""
    b = brokers('max_qos 2\nmax_topic_alias 3\n')
    with open(b.conf_path, encoding='utf-8') as f:
        text = f.read()
    b.write_conf(text.replace('max_qos 2', 'max_qos 1').replace('alias 3', 'alias 4')
                 + 'accept_protocol_versions 5\n')
    start = b.log_size()
    b.hup()
    b.wait_log('Reloaded', start)
    with Raw(b.port) as c:
        ack = c.connect('after')
        assert ack.props['maximum_qos'] == 1 and ack.props['topic_alias_maximum'] == 4
        assert c.subscribe(topic, qos=2) == [1]
    with Raw(b.port, version=4) as c:
        c.send(connect_packet('old', 4))
        assert c.expect(CONNACK).code == 1


# -- use_username_as_clientid --

@ours
@pytest.mark.parametrize('version', [3, 4, 5])
def test_username_as_clientid(brokers, tmp_path, version):
    path = tmp_path / 'passwords'
    path.write_text(passwords.sha512('anna', 'right'))
    path.chmod(0o600)
    tmp_path.chmod(0o755)
    b = brokers(f'use_username_as_clientid true\npassword_file {path}\n')
    with Raw(b.port, version=version) as c:
        c.connect('whatever', username='anna', password='right')
        b.wait_log('as anna ')
    with Raw(b.port, version=version) as c:
        c.send(connect_packet('anna', version))
        assert c.expect(CONNACK).code == (0x87 if version == 5 else 5)


@ours
def test_certificate_as_clientid(brokers, pki):
    """The name that is proved, not the one that is claimed beside it."""
    b = brokers(f'certfile {pki.server[0]}\nkeyfile {pki.server[1]}\ncafile {pki.ca}\n'
                'require_certificate true\nuse_identity_as_username true\n'
                'use_username_as_clientid true\n', anonymous=False)
    ctx = ssl.create_default_context(cafile=pki.ca)
    ctx.load_cert_chain(*pki.client)
    for _ in range(4):
        start = b.log_size()
        with Raw(b.port, tls=ctx) as c:
            c.connect('other', username='victim', password='x')
            b.wait_log("as alice .*u'alice'", start)
    assert 'as victim' not in b.log()
