# SPDX-License-Identifier: Apache-2.0
"""nightjar rr beside Debian's mosquitto_rr: the same packets, output and exit
status; and both with mosquitto_pub and mosquitto_sub as responders."""
import os
import re
import subprocess
import threading

import pytest

import harness
from harness import HOST, NIGHTJAR, PATIENCE
from peer import Peer, PROGRAMS, Program, start
from raw import CONNECT, DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Raw, SUBSCRIBE

pytestmark = pytest.mark.ours
each = pytest.mark.parametrize('which', PROGRAMS)
versions = pytest.mark.parametrize('version', [5, 4, 3])


@pytest.fixture(autouse=True)
def no_defaults(monkeypatch):
    monkeypatch.setenv('XDG_CONFIG_HOME', '/nonexistent')
    monkeypatch.setenv('TZ', 'UTC')


class Responder:
    """Answers requests on a topic as their response topic asks; of MQTT 3, on
    that which it is told."""

    def __init__(self, broker, topic, version=5, to=None, payload=b'pong', props=None, qos=0):
        self.raw = Raw(broker.port, version=version)
        self.raw.connect('responder-' + topic.replace('/', '-'))
        self.raw.subscribe(topic, qos=2)
        self.to, self.payload, self.props, self.qos = to, payload, props or {}, qos
        self.requests = []
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        m = self.raw.message()
        self.requests.append(m)
        props = dict(self.props)
        if 'correlation_data' in m.props:
            props.setdefault('correlation_data', m.props['correlation_data'])
        self.raw.publish_acked(self.to or m.props['response_topic'], self.payload, self.qos,
                               props=props)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.thread.join(PATIENCE)
        self.raw.close()


def run(which, args, stdin=b'', env=None):
    with Program(PROGRAMS[which]('rr') + args, stdin=stdin, env=env) as p:
        return p.status(), p.out.decode('utf-8', 'backslashreplace'), p.text()


def at(broker):
    return ['-h', HOST, '-p', str(broker.port)]


@versions
@pytest.mark.parametrize('args', [
    [], ['-v'], ['-N'], ['-q', '1'], ['-q', '2', '-v'], ['-F', '%t|%p|%q|%r|%l|%x'],
    ['-F', '%C|%D|%R|%P'], ['-W', '60'],
], ids=str)
def test_same_output(broker, topic, version, args):
    got = {}
    for which in PROGRAMS:
        answer = f'{topic}/answer/{which}'
        with Responder(broker, topic, version, to=answer if version != 5 else None, qos=1,
                       props={'content_type': 'text/plain'}) as r:
            status, out, err = run(which, at(broker) + [
                '-V', {5: '5', 4: '311', 3: '31'}[version], '-t', topic, '-e', answer, '-m', 'ping',
                *args])
        assert r.requests[0].payload == b'ping', err
        if version == 5:
            assert r.requests[0].props['response_topic'] == answer
        got[which] = (status, out.replace(which, 'X'))
    assert got['nightjar'] == got['mosquitto']
    assert got['nightjar'][0] == 0 and 'pong' in got['nightjar'][1] or '-F' in args


def test_mqtt5_is_the_default(broker, topic):
    with Responder(broker, topic) as r:
        status, out, _ = run('nightjar', at(broker) + ['-t', topic, '-e', topic + '/re', '-m', 'x'])
    assert (status, out) == (0, 'pong\n')
    assert r.requests[0].props == {'response_topic': topic + '/re'}


def test_the_programs_of_debian_respond(broker, topic):
    """mosquitto_sub hears the request, mosquitto_pub answers it."""
    with subprocess.Popen(['stdbuf', '-oL', 'mosquitto_sub', *at(broker), '-V', '5', '-t', topic, '-C',
                           '1', '-F', '%R|%D|%p', '-d'], stdout=subprocess.PIPE, text=True) as sub:
        for line in sub.stdout:
            if line.startswith('Subscribed'):
                break
        with Program([NIGHTJAR, 'rr', *at(broker), '-t', topic, '-e', topic + '/re', '-m', 'ping',
                      '-D', 'publish', 'correlation-data', 'id-7', '-F', '%D|%p']) as rr:
            lines = sub.communicate(timeout=PATIENCE)[0].splitlines()
            assert f'{topic}/re|id-7|ping' in lines
            subprocess.run(['mosquitto_pub', *at(broker), '-V', '5', '-t', topic + '/re', '-m', 'pong',
                            '-D', 'publish', 'correlation-data', 'id-7'], check=True, timeout=PATIENCE)
            assert rr.ends() == b'id-7|pong\n'


def test_a_response_to_somebody_else(broker, topic):
    """MQTT 5.0 4.10: correlation data says which request a response is for."""
    with Program([NIGHTJAR, 'rr', *at(broker), '-t', topic, '-e', topic + '/re', '-m', 'x', '-D',
                  'publish', 'correlation-data', 'mine']) as rr, Raw(broker.port) as c:
        c.connect('other')
        c.subscribe(topic)
        # It may have asked already.
        while rr.process.poll() is None:
            c.publish(topic + '/re', b'theirs', props={'correlation_data': b'theirs'})
            c.publish(topic + '/re', b'ours', props={'correlation_data': b'mine'})
            c.ping()
        assert rr.ends() == b'ours\n'


@each
@pytest.mark.parametrize('args,status', [
    ([], 1), (['-t', 'a', '-m', 'x'], 1), (['-e', 'b', '-m', 'x'], 1), (['-t', 'a', '-e', 'b'], 1),
    (['-t', 'a/+', '-e', 'b', '-m', 'x'], 1), (['-t', 'a', '-e', 'b/#', '-m', 'x'], 1),
    (['-t', 'a', '-e', 'b', '-m', 'x', '-n'], 1), (['-t', 'a', '-e', 'b', '-m', 'x', '-C', '1'], 1),
    (['-t', 'a', '-e', 'b', '-m', 'x', '-l'], 1), (['-t', 'a', '-e'], 1),
    (['-t', 'a', '-e', 'b', '-m', 'x', '-W', '0'], 1), (['-t', 'a', '-e', 'b', '-m', 'x', '-F', '%'], 1),
    (['-t', 'a', '-e', 'b', '-m', 'x', '-D', 'publish', 'response-topic', 'c'], 1),
    (['-t', 'a', '-e', 'b', '-m', 'x', '-W', '1'], 27), (['-t', 'a', '-e', 'b', '-n', '-W', '1'], 27),
    (['-t', 'a', '-e', 'b', '-m', 'x', '-W', '1', '-q', '2', '-V', '311'], 27),
], ids=str)
def test_status(broker, which, args, status):
    got, out, err = run(which, at(broker) + args)
    assert (got, out) == (status, '')
    assert 'Timed out' in err if status == 27 else 'Error' in err


def test_nobody_listens():
    port = str(harness.free_port())
    for which in PROGRAMS:
        assert run(which, ['-h', HOST, '-p', port, '-t', 'a', '-e', 'b', '-m', 'x'])[0] == 1


@each
@versions
def test_packets(which, version):
    """CONNECT, then SUBSCRIBE, then only after its SUBACK the request."""
    with Peer(version) as peer, start(peer, 'rr', '-t', 'q', '-e', 're', '-m', 'ping', '-q', '1',
                                      which=which) as p:
        c = peer.take()
        c.accept()
        s = c.expect(SUBSCRIBE)
        assert s.filters == [(b're', 1)]
        c.silent(0.2)
        c.suback(s)
        m = c.expect(PUBLISH)
        assert (m.topic, m.payload, m.qos, m.retain) == (b'q', b'ping', 1, 0)
        assert m.props == ({'response_topic': 're'} if version == 5 else {})
        c.ack(PUBACK, m.mid)
        c.publish('re', b'pong', qos=1, mid=9)
        assert p.ends() == b'pong\n'
        rest = [k.kind for k in c.rest()]
        # mosquitto_rr leaves without DISCONNECT; then its will is published.
        assert rest == [PUBACK, DISCONNECT] if which == 'nightjar' else PUBACK in rest


@pytest.mark.parametrize('code,status', [(0x87, 0x87), (5, 5)])
def test_connection_refused(code, status):
    version = 5 if code > 5 else 4
    got = []
    for which in PROGRAMS:
        with Peer(version) as peer, start(peer, 'rr', '-t', 'q', '-e', 're', '-m', 'x',
                                          which=which) as p:
            c = peer.take()
            c.expect(CONNECT)
            c.connack(code)
            c.close()
            got.append(p.status())
    assert got == [status, status]


def test_subscription_refused():
    with Peer() as peer, start(peer, 'rr', '-t', 'q', '-e', 're', '-m', 'x') as p:
        c = peer.take()
        c.accept()
        c.suback(c.expect(SUBSCRIBE), [0x87])
        c.farewell()
        p.ends(0x87)
        assert 'not authorized' in p.text()


def test_request_refused():
    with Peer() as peer, start(peer, 'rr', '-t', 'q', '-e', 're', '-m', 'x', '-q', '1') as p:
        c = peer.take()
        c.subscribed()
        c.ack(PUBACK, c.expect(PUBLISH).mid, 0x87)
        c.farewell()
        p.ends(0x87)
        assert 'not authorized' in p.text()


def test_no_responder_is_no_refusal():
    """0x10: nobody is subscribed to the request now; one may come."""
    with Peer() as peer, start(peer, 'rr', '-t', 'q', '-e', 're', '-m', 'x', '-q', '1') as p:
        c = peer.take()
        c.subscribed()
        c.ack(PUBACK, c.expect(PUBLISH).mid, 0x10)
        c.publish('re', b'late')
        c.farewell()
        assert p.ends() == b'late\n'


def test_request_of_qos_2_is_ended():
    """The response is there before PUBCOMP: the hand-shake is brought to its end."""
    with Peer() as peer, start(peer, 'rr', '-t', 'q', '-e', 're', '-m', 'x', '-q', '2') as p:
        c = peer.take()
        c.subscribed()
        m = c.expect(PUBLISH)
        c.publish('re', b'pong')
        p.printed(b'pong\n')
        c.ack(PUBREC, m.mid)
        assert c.expect(PUBREL).mid == m.mid
        c.ack(PUBCOMP, m.mid)
        c.farewell()
        p.ends()


def test_connection_lost():
    got = []
    for which in PROGRAMS:
        with Peer() as peer, start(peer, 'rr', '-t', 'q', '-e', 're', '-m', 'x', which=which) as p:
            c = peer.take()
            c.subscribed()
            c.expect(PUBLISH)
            c.close()
            got.append(p.status())
    assert got == [7, 7]


def test_timeout_before_connack():
    with Peer() as peer, start(peer, 'rr', '-t', 'q', '-e', 're', '-m', 'x', '-W', '1') as p:
        peer.take()
        p.ends(27)


def test_retained_is_no_response():
    with Peer() as peer, start(peer, 'rr', '-t', 'q', '-e', 're', '-m', 'x', '-R') as p:
        c = peer.take()
        c.subscribed()
        c.expect(PUBLISH)
        c.publish('re', b'stale', retain=True)
        c.publish('re', b'fresh')
        assert p.ends() == b'fresh\n'


def test_latency():
    with Peer() as peer, start(peer, 'rr', '-t', 'q', '-e', 're', '-m', 'x', '--latency') as p:
        c = peer.take()
        c.subscribed()
        c.expect(PUBLISH)
        c.publish('re', b'pong')
        assert re.fullmatch(r'pong\nLatency: [\d.]+(ns|µs|ms)?\n', p.ends().decode())


@pytest.mark.parametrize('args,stdin,want', [
    (['-s'], b'a\nb\n', b'a\nb\n'), (['-f', '/etc/hostname'], b'', None), (['-n'], b'', b'')])
def test_sources(args, stdin, want):
    if want is None:
        with open(args[1], 'rb') as f:
            want = f.read()
    with Peer() as peer, start(peer, 'rr', '-t', 'q', '-e', 're', *args, stdin=stdin) as p:
        c = peer.take()
        c.subscribed()
        assert c.expect(PUBLISH).payload == want
        c.publish('re', b'pong')
        assert p.ends() == b'pong\n'


def test_linked_name_and_defaults(broker, topic, tmp_path):
    os.symlink(NIGHTJAR, tmp_path / 'mosquitto_rr')
    config = tmp_path / 'config'
    config.mkdir()
    (config / 'mosquitto_rr').write_text(f'-h {HOST}\n-p {broker.port}\n-t {topic}\n', encoding='utf-8')
    with Responder(broker, topic), Program(
            [tmp_path / 'mosquitto_rr', '-e', topic + '/re', '-m', 'x'],
            env={'XDG_CONFIG_HOME': str(config)}) as p:
        assert p.ends() == b'pong\n'
    with Program([tmp_path / 'mosquitto_rr', '--nonsense']) as p:
        p.ends(1)
        assert "Use 'mosquitto_rr --help'" in p.text()
