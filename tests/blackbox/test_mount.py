# SPDX-License-Identifier: Apache-2.0
"""mount_point over real listeners; tests/scenario/cases/mount.txt has the
finer points."""
import pytest

import passwords
import wsraw
from harness import HOST, free_port
from raw import Raw, connect_packet

ours = pytest.mark.ours


@pytest.fixture(scope='module')
def site(base_folder):
    """A broker with a port without, and one each with a/ and b/."""
    from conftest import Factory
    factory = Factory(base_folder)
    ports = [free_port(), free_port()]
    b = factory(''.join(f'listener {port} {HOST}\nmount_point {prefix}\n'
                        for port, prefix in zip(ports, ('a/', 'b/'))), extra_ports=ports)
    b.whole = b.port
    b.a, b.b = ports
    yield b
    factory.finish()


@pytest.mark.parametrize('version', [4, 5])
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_put_on_and_taken_off(site, topic, version, qos):
    with Raw(site.a, version=version) as a, Raw(site.b, version=version) as b, \
            Raw(site.whole, version=version) as w:
        a.connect('a')
        b.connect('b')
        w.connect('w')
        for c in (a, b, w):
            assert c.subscribe('#', qos=2) == [2]
        assert a.publish_acked(topic, b'of a', qos) == 0
        m = a.message()
        assert (m.topic, m.payload, m.qos) == (topic, b'of a', qos)
        m = w.message()
        assert (m.topic, m.payload, m.qos) == (f'a/{topic}', b'of a', qos)
        assert w.publish_acked(f'b/{topic}', b'of w', qos) == 0
        m = b.message()
        assert (m.topic, m.payload) == (topic, b'of w')
        a.silent(0.2)


@ours
def test_unsubscribe(site, topic):
    """Mosquitto 2.1 looks for the filter without its prefix, and finds none."""
    with Raw(site.a) as c:
        c.connect('un')
        c.subscribe(topic, f'$share/g/{topic}/x')
        assert c.unsubscribe(topic, f'$share/g/{topic}/x', topic) == [0, 0, 0x11]
        c.publish(topic, b'x')
        c.silent(0.2)


@ours
def test_request_and_response(site, topic):
    """Who answers outside finds the topic that the asker meant."""
    with Raw(site.a) as a, Raw(site.whole) as w:
        a.connect('asks')
        w.connect('answers')
        a.subscribe(f'{topic}/answer')
        w.subscribe(f'a/{topic}/ask')
        a.publish(f'{topic}/ask', b'?', props={'response_topic': f'{topic}/answer',
                                               'correlation_data': b'1'})
        m = w.message()
        assert m.props['response_topic'] == f'a/{topic}/answer'
        w.publish(m.props['response_topic'], b'!', props={'correlation_data': b'1'})
        m = a.message()
        assert (m.topic, m.payload) == (f'{topic}/answer', b'!')


@ours
def test_will_and_retained(site, topic):
    with Raw(site.whole) as w:
        w.connect('w')
        w.subscribe(f'a/{topic}/#', qos=1)
        with Raw(site.a) as a:
            a.connect('gone', will=(f'{topic}/will', b'bye', 1, True))
        m = w.message()
        assert (m.topic, m.payload) == (f'a/{topic}/will', b'bye')
    with Raw(site.a) as a:
        a.connect('later')
        a.subscribe(f'{topic}/#', qos=1)
        m = a.message()
        assert (m.topic, m.payload, m.retain) == (f'{topic}/will', b'bye', True)
        a.publish_acked(f'{topic}/will', b'', 1, retain=True)  # not under way to who comes next


@ours
@pytest.mark.parametrize('version', [4, 5])
def test_too_long_with_the_prefix(site, version):
    """The longest topic that fits, and one byte more; nobody else suffers."""
    with Raw(site.whole) as w:
        w.connect('w')
        w.subscribe('a/#')
        with Raw(site.a, version=version) as c:
            c.connect('long')
            c.publish('x' * 65533, b'fits')
            assert len(w.message().topic) == 65535
            c.publish('x' * 65534, b'not')
            assert c.closed() == (0x90 if version == 5 else None)
        with Raw(site.a, version=version) as c:
            c.connect('long')
            assert c.subscribe('x' * 65534)[0] >= 0x80
            assert c.subscribe('x' * 65533) == [0]
            assert c.subscribe('$share/g/' + 'x' * 65524)[0] == 0
            assert c.subscribe('$share/g/' + 'x' * 65525)[0] >= 0x80
        w.ping()


@ours
def test_long_will_and_response(site):
    with Raw(site.a) as c:
        c.send(connect_packet('w', will=('x' * 65534, b'')))
        assert c.closed() == 0x90
    with Raw(site.a) as c:
        c.connect('r')
        c.publish('x', b'', props={'response_topic': 'r' * 65534})
        assert c.closed() == 0x90


@ours
def test_levels(site):
    """The prefix counts as a level."""
    with Raw(site.a) as c:
        c.connect('deep')
        c.subscribe('#')
        c.publish('/' * 199, b'x')
        assert c.message().topic == '/' * 199
        c.publish('/' * 200, b'x')
        assert c.closed() == 0x90


@ours
def test_filters_that_are_none(site):
    with Raw(site.a) as c:
        c.connect('bad')
        for f in ('', 'a/#/b', 'a+', '$share/g', '$share//x', '$share/+/x', '$share/g/'):
            assert c.subscribe(f)[0] == 0x8f, f
        c.ping()


@ours
def test_session_does_not_cross(site, topic):
    with Raw(site.a) as c:
        c.connect('roams', clean=False, props={'session_expiry': 60})
        c.subscribe(topic, qos=1)
    with Raw(site.whole) as w:
        w.connect('w')
        w.publish_acked(f'a/{topic}', b'queued', 1)
    with Raw(site.b) as c:
        ack = c.connect('roams', clean=False, props={'session_expiry': 60})
        assert not ack.session_present
        c.silent(0.2)
    site.wait_log('Session of client roams ends: it comes to a listener with another mount_point')


@ours
def test_reload(brokers, topic):
    """For who connects from then on."""
    b = brokers('mount_point a/\n')
    with Raw(b.port) as before:
        before.connect('before')
        before.subscribe('#')
        with open(b.conf_path, encoding='utf-8') as f:
            text = f.read()
        b.write_conf(text.replace('mount_point a/', 'mount_point b/'))
        start = b.log_size()
        b.hup()
        b.wait_log('Reloaded', start)
        with Raw(b.port) as after:
            after.connect('after')
            after.subscribe('#')
            after.publish(topic, b'b')
            assert after.message().payload == b'b'
            before.silent(0.2)
            before.publish(topic, b'a')
            assert before.message().payload == b'a'
            after.silent(0.2)


@ours
def test_websocket(brokers, topic):
    port = free_port()
    brokers(f'listener {port} {HOST}\nprotocol websockets\nmount_point a/\n', extra_ports=[port])
    with wsraw.RawWs(port) as c:
        c.connect('framed')
        c.subscribe(topic)
        c.publish(topic, b'x')
        assert c.message().topic == topic


@ours
def test_bad_configuration(brokers):
    for conf, why in (('mount_point a/+/', 'wildcard'), ('mount_point #', 'wildcard'),
                      ('mount_point $share/g/', 'shared subscriptions')):
        brokers(conf + '\n', start=False).refuses(why)


def test_users_are_the_same(brokers, tmp_path):
    """A mount point changes nothing about who may come in."""
    path = tmp_path / 'passwords'
    path.write_text(passwords.sha512('user', 'right'))
    path.chmod(0o600)
    tmp_path.chmod(0o755)
    b = brokers(f'mount_point a/\npassword_file {path}\n', anonymous=False)
    with Raw(b.port) as c:
        c.connect('c', username='user', password='right')
    with Raw(b.port) as c:
        c.send(connect_packet('c', username='user', password='wrong'))
        assert c.closed() in (0x86, 0x87)


@ours
def test_rules_see_the_whole_topic(brokers, tmp_path):
    """acl_file is about topics with their prefix, as with Mosquitto."""
    acl = tmp_path / 'acl'
    acl.write_text('topic readwrite a/open/#\ntopic readwrite shut/#\n')
    acl.chmod(0o600)
    tmp_path.chmod(0o755)
    b = brokers(f'mount_point a/\nacl_file {acl}\n')
    with Raw(b.port) as c:
        c.connect('ruled')
        assert c.subscribe('open/#') == [0]
        assert c.publish_acked('open/x', b'1', 1) == 0
        assert c.message().topic == 'open/x'
        assert c.publish_acked('shut/x', b'2', 1) == 0x87
        c.silent(0.2)
    with Raw(b.port) as c:
        c.send(connect_packet('w', will=('shut/x', b'')))
        assert c.closed() == 0x87
