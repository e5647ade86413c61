# SPDX-License-Identifier: Apache-2.0
"""nightjar pub, sub and bench; pub and sub beside mosquitto_pub and
mosquitto_sub: the same output and the same exit status."""
import contextlib
import json
import os
import re
import socket
import subprocess
import time

import pytest

import pahoc
import passwords
from harness import HOST, NIGHTJAR, PATIENCE, free_port, paced, wait_until
from peer import Peer, start
from sockets import nodelay

pytestmark = pytest.mark.ours

PUBS = {'mosquitto': ['mosquitto_pub'], 'nightjar': [NIGHTJAR, 'pub']}
SUBS = {'mosquitto': ['stdbuf', '-oL', 'mosquitto_sub'], 'nightjar': [NIGHTJAR, 'sub']}
DEBUG = re.compile(r'Client \S+ (sending|received) .*\n|Subscribed \(mid: \d+\): .*\n')
each_pub = pytest.mark.parametrize('pub', PUBS)
each_sub = pytest.mark.parametrize('sub', SUBS)


@pytest.fixture(autouse=True)
def no_defaults(monkeypatch):
    monkeypatch.setenv('XDG_CONFIG_HOME', '/nonexistent')
    monkeypatch.setenv('TZ', 'UTC')


def at(broker):
    return ['-h', HOST, '-p', str(broker.port)]


def run(argv, stdin='', **kw):
    return subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors='backslashreplace', check=False,
                          timeout=PATIENCE + 10, **kw)


class Sub:
    """A subscriber that has subscribed when this returns."""

    def __init__(self, which, args):
        argv = SUBS[which] + ['-d', '-W', str(int(PATIENCE))] + args
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, bufsize=0)
        # Retained messages may come before SUBACK.
        self.seen = b''
        while not re.search(rb'Subscribed \(mid: 1\).*\n$', self.seen):
            byte = self.process.stdout.read(1)
            assert byte, f'{argv}: {self.seen}{self.process.stderr.read()}'
            self.seen += byte

    def shows(self, size):
        """Waits until it has printed so much, but for what -d adds."""
        while len(DEBUG.sub('', self.seen.decode('utf-8', 'backslashreplace'))) < size:
            more = os.read(self.process.stdout.fileno(), 4096)
            assert more, self.seen
            self.seen += more

    def end(self):
        """What it printed, but for what -d adds, and its status."""
        out, err = self.process.communicate(timeout=PATIENCE + 10)
        text = DEBUG.sub('', (self.seen + out).decode('utf-8', 'backslashreplace'))
        return text, self.process.returncode, err.decode()


def print_both(broker, sub_args, messages):
    """What each prints for these messages: (publisher's arguments)."""
    subs = {name: Sub(name, at(broker) + sub_args) for name in SUBS}
    for m in messages:
        p = run(['mosquitto_pub', *at(broker), *m])
        assert p.returncode == 0, p.stderr
    return {name: sub.end() for name, sub in subs.items()}


def without_time(text):
    return re.sub(r'"tst":\s*"[^"]*"', '"tst":"-"', text)


PROPERTIES = ['-V', '5', '-D', 'publish', 'content-type', 'text/plain', '-D', 'publish',
              'response-topic', 're/sp', '-D', 'publish', 'correlation-data', 'abc', '-D', 'publish',
              'message-expiry-interval', '77', '-D', 'publish', 'payload-format-indicator', '1',
              '-D', 'publish', 'user-property', 'k1', 'v1', '-D', 'publish', 'user-property',
              'k2', 'v2']


@pytest.mark.parametrize('args', [
    [], ['-v'], ['-N'], ['-N', '-v'], ['-q', '2', '-v'], ['-V', '31', '-v'],
    ['-F', '%t|%p|%q|%r|%l|%x|%X'], ['-F', '%10t|%-10t|%3.4t|%.4t|%010t|'],
    ['-F', '%10l|%010l|%-10l|'], ['-F', '%3p|%10p|%-10p|%010p|%-010p|%.2p|%10.3p|%2p'], ['-F', '\\\\|\\0|\\a|\\e|\\n|\\r|\\t|\\v|@@|%%'],
    ['-F', '@Y|%q', '-q', '1'], ['-F', '%m|%q', '-q', '1'],
], ids=str)
def test_output(broker, topic, args):
    # Acknowledged, so that one is there before the next publisher comes.  None of QoS 1 after one
    # of QoS 2, which mosquitto_sub prints when PUBREL comes: maybe later.
    messages = [['-t', topic, '-m', 'Hello', '-q', '1'], ['-t', topic, '-n', '-q', '2'],
                ['-t', topic + '/below', '-m', 'h\u00e9 "quoted"', '-q', '2']]
    got = print_both(broker, ['-t', topic + '/#', '-C', '3'] + args, messages)
    assert got['nightjar'][:2] == got['mosquitto'][:2]
    assert got['nightjar'][1] == 0


@pytest.mark.parametrize('fmt', [
    '%A|%C|%D|%E|%F|%P|%R|%S', '%10C|%-10C|%.2C|%010E|%8R|%-8R|%.3R|%5S|%05S|%-5S|'])
def test_output_properties(broker, topic, fmt):
    got = print_both(broker, ['-V', '5', '-D', 'subscribe', 'subscription-identifier', '7',
                              '-t', topic, '-C', '2', '-F', fmt],
                     [['-t', topic, '-m', 'x', '-q', '1'] + PROPERTIES, ['-t', topic, '-m', 'x', '-q', '1']])
    assert got['nightjar'][:2] == got['mosquitto'][:2]


@pytest.mark.parametrize('fmt,payload', [
    ('%j', 'he"l\\lo\tx'), ('%J', '{"a": [1, 2.5, {"b": null}], "c": "x\\n"}'), ('%J', 'not JSON'),
    ('%j', '')])
@pytest.mark.parametrize('pretty', [[], ['--pretty']], ids=['plain', 'pretty'])
def test_output_json(broker, topic, fmt, payload, pretty):
    got = print_both(broker, ['-V', '5', '-t', topic, '-C', '1', '-q', '1', '-F', fmt, *pretty],
                     [['-t', topic, '-q', '1', *PROPERTIES] +
                      (['-m', payload] if payload else ['-n'])])
    values = {}
    for name, (text, status, err) in got.items():
        assert status == 0
        if payload == 'not JSON':
            assert text == '\n' and 'not valid JSON' in err
        else:
            values[name] = json.loads(text)
            values[name].pop('tst')
    assert values.get('nightjar') == values.get('mosquitto')
    if pretty and payload != 'not JSON':
        assert without_time(got['nightjar'][0]).count('\n') == got['mosquitto'][0].count('\n')


def test_time_of_json(broker, topic):
    text = print_both(broker, ['-t', topic, '-C', '1', '-F', '%j|%I|%U'],
                      [['-t', topic, '-m', 'x']])['nightjar'][0]
    assert re.search(r'"tst":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+0000"', text)
    assert abs(float(text.split('|')[2]) - time.time()) < 60


# Arguments behind -h and -p, for programs that must agree on their status.
@pytest.mark.parametrize('args', [
    ['-t', 'a/#', '-m', 'x'], ['-t', 'a', '-m', 'x', '-q', '3'], ['-t', 'a'], ['-m', 'x'],
    ['-t', 'a', '-m', 'x', '--nonsense'], ['-t', 'a', '-m', 'x', '-n'], ['-t', 'a', '-f', '/none'],
    ['-t', 'a', '-m', 'x', '-V', '7'], ['-t', 'a', '-m', 'x', '-c'], ['-t', 'a', '-m', 'x', '-k'],
    ['-t', 'a', '-m', 'x', '-i', 'a', '-I', 'b'], ['-t', 'a', '-m', 'x', '--repeat', '0'],
    ['-t', 'a', '-m', 'x', '-D', 'publish', 'nonsense', 'x'],
    ['-t', 'a', '-m', 'x', '--cert', 'x'], ['-t', 'a', '-m', 'x', '--will-payload', 'x'],
    ['-t', 'a', '-f', '/dev/null'], ['-t', 'a', '-s'],
    ['-t', 'a', '-m', 'x', '--psk', 'aa'], ['-t', 'a', '-m', 'x', '-x', 'soon'],
    ['-t', 'a', '-m', 'x'], ['-t', 'a', '-m', 'x', '-q', '2'], ['-t', 'a', '-n', '-V', '5'],
], ids=' '.join)
def test_status_of_pub(broker, args):
    status = {name: run(argv + at(broker) + args) for name, argv in PUBS.items()}
    assert status['nightjar'].returncode == status['mosquitto'].returncode
    assert bool(status['nightjar'].stderr) == bool(status['mosquitto'].stderr)


@pytest.mark.parametrize('args', [
    [], ['-t', 'a#'], ['-t', 'a', '-T', '#b'], ['-t', 'a', '-C', '0'], ['-t', 'a', '-F', '%z'],
    ['-t', 'a', '-F', 'x%'], ['-t', 'a', '-F', '\\q'], ['-t', 'a', '-R', '--retained-only'],
    ['-t', 'a', '--random-filter', '0'], ['-t', 'a', '-W', '1'], ['-t', 'a', '-E'],
    ['-t', 'a', '-t', 'b/+', '-U', 'c', '-E', '-q', '2'],
], ids=' '.join)
def test_status_of_sub(broker, args):
    status = {name: run(argv + at(broker) + args) for name, argv in SUBS.items()}
    assert status['nightjar'].returncode == status['mosquitto'].returncode
    if args[-2:] == ['-W', '1']:
        assert status['nightjar'].returncode == 27
        assert status['nightjar'].stderr == status['mosquitto'].stderr


@each_pub
def test_status_of_refusals(brokers, pub, tmp_path):
    path = tmp_path / 'passwords'
    path.write_text(passwords.pbkdf2('anna', 'right'))
    os.chmod(path, 0o600)
    b = brokers(f'allow_anonymous false\npassword_file {path}\n', anonymous=False)
    base = PUBS[pub] + at(b) + ['-t', 'a', '-m', 'x']
    assert run(base).returncode == 5
    assert run(base + ['-V', '5']).returncode == 135
    assert run(base + ['-u', 'anna', '-P', 'wrong', '-V', '5']).returncode in (134, 135)
    assert run(base + ['-u', 'anna', '-P', 'right']).returncode == 0
    assert run(PUBS[pub] + ['-h', HOST, '-p', str(free_port()), '-t', 'a', '-m', 'x']).returncode == 1
    if pub == 'nightjar':
        assert 'not authorized' in run(base).stderr
        assert run(base + ['--quiet']).stderr == ''


@pytest.mark.parametrize('args,stdin,count', [
    (['-l'], 'one\ntwo\n\nfour', 4), (['-l', '-q', '2'], 'one\ntwo\n', 2), (['-l'], '', 0),
    (['-l', '-q', '1', '-M', '3'], ''.join(f'{i}\n' for i in range(500)), 500),
    (['-s'], 'one\ntwo\n', 1), (['-n'], '', 1),
    (['-m', 'x', '--repeat', '3', '--repeat-delay', '0.1'], '', 3),
    (['-f', __file__, '-q', '1'], '', 1),
], ids=str)
@each_pub
def test_sources(broker, topic, pub, args, stdin, count):
    if args[0] == '-l':
        want = ''.join(f'{len(s)} {s}\n' for s in stdin.splitlines())
    elif args[0] == '-f':
        with open(__file__, encoding='utf-8') as f:
            body = f.read()
        want = f'{len(body.encode())} {body}\n'
    elif args[0] == '-s':
        want = f'{len(stdin)} {stdin}\n'
    elif args[0] == '-n':
        want = '0 \n'
    else:
        want = '1 x\n' * 3
    sub = Sub('nightjar', at(broker) + ['-t', topic, '-q', '2', '-C', str(count + 1), '-F', '%l %p'])
    start = broker.log_size()
    p = run(PUBS[pub] + at(broker) + ['-t', topic, '-i', 'source'] + args, stdin)
    assert p.returncode == 0, p.stderr
    # Of QoS 0 some may be under way; another publisher would overtake it.
    broker.wait_log('Client source disconnected', start)
    sub.shows(len(want))
    run(PUBS[pub] + at(broker) + ['-t', topic, '-m', 'end', '-q', '2'])
    text, status, _ = sub.end()
    assert (text, status) == (want + '3 end\n', 0)


def shown(which, broker, topic, *more, waits=''):
    """What it prints of a tree, in order of names, until a message that comes
    last, and what is waited for."""
    s = Sub(which, at(broker) + ['-t', topic + '/#', '-v', *more])
    run(['mosquitto_pub', *at(broker), '-t', f'{topic}/end', '-m', 'end', '-q', '1'])
    end = f'{topic}/end end\n'
    while end.encode() not in s.seen or waits.encode() not in s.seen:
        got = os.read(s.process.stdout.fileno(), 4096)
        assert got, s.seen
        s.seen += got
    s.process.kill()
    return sorted(s.end()[0].replace(end, '').splitlines())


@each_sub
def test_retained(broker, topic, sub):
    for name in ('a', 'b'):
        run(['mosquitto_pub', *at(broker), '-t', f'{topic}/{name}', '-m', name, '-r', '-q', '1'])
    both = [f'{topic}/a a', f'{topic}/b b']
    assert shown(sub, broker, topic) == both
    assert shown(sub, broker, topic, '-R') == []
    assert shown(sub, broker, topic, '-T', topic + '/b') == both[:1]
    only = Sub(sub, at(broker) + ['-t', topic + '/#', '-v', '--retained-only'])
    run(['mosquitto_pub', *at(broker), '-t', topic + '/c', '-m', 'fresh'])
    text, status, _ = only.end()
    assert sorted(text.splitlines()) == both and status == 0
    # What removes it comes back, too.
    assert shown(sub, broker, topic, '--remove-retained', '-T', topic + '/b', waits='/a (null)\n') == \
        [f'{topic}/a (null)', f'{topic}/a a']
    assert shown(sub, broker, topic) == both[1:]
    shown(sub, broker, topic, '--remove-retained', waits='/b (null)\n')
    assert shown(sub, broker, topic) == []


def test_session(broker, topic):
    """-c -i: what came meanwhile is delivered, and what was printed only once."""
    sub = 'nightjar'
    args = at(broker) + ['-t', topic, '-q', '1', '-c', '-i', 'session']
    assert run(SUBS[sub] + args + ['-E']).returncode == 0
    run([*PUBS['nightjar'], *at(broker), '-t', topic, '-l', '-q', '1'], 'one\ntwo\nthree\n')
    p = run(SUBS[sub] + args + ['-C', '2'])
    assert (p.stdout, p.returncode) == ('one\ntwo\n', 0)
    p = run(SUBS[sub] + args + ['-C', '1'])
    assert (p.stdout, p.returncode) == ('three\n', 0)


def test_will(broker, topic):
    watcher = Sub('nightjar', at(broker) + ['-t', topic, '-C', '1', '-q', '1', '-F', '%p|%q'])
    s = Sub('nightjar', at(broker) + ['-t', 'other', '--will-topic', topic, '--will-payload', 'gone',
                                      '--will-qos', '1'])
    s.process.kill()
    s.process.communicate()
    assert watcher.end()[:2] == ('gone|1\n', 0)


def test_end_by_signal(broker, topic):
    """SIGTERM is a DISCONNECT: no will."""
    watcher = Sub('nightjar', at(broker) + ['-t', topic, '-C', '1'])
    s = Sub('nightjar', at(broker) + ['-t', 'other', '--will-topic', topic])
    s.process.terminate()
    assert s.end()[1] == 0
    run(['mosquitto_pub', *at(broker), '-t', topic, '-m', 'end', '-q', '1'])
    assert watcher.end()[:2] == ('end\n', 0)


def test_reconnect(brokers, topic):
    b = brokers()
    sub = Sub('nightjar', at(b) + ['-t', topic, '-C', '2'])
    base = [*PUBS['nightjar'], *at(b), '-t', topic, '-q', '1', '-m']
    assert run(base + ['one']).returncode == 0
    b.stop()
    b.start()

    def back():
        # Until it has come back there is nobody to hear this.
        run(base + ['two'])
        return sub.process.poll() is not None
    wait_until(back, 'the second message is received')
    text, status, err = sub.end()
    assert text.splitlines() == ['one', 'two'] and status == 0
    assert 'trying again' in err


def test_linked_names(broker, topic, tmp_path):
    for name in ('mosquitto_pub', 'mosquitto_sub'):
        os.symlink(NIGHTJAR, tmp_path / name)
    p = run([tmp_path / 'mosquitto_pub', *at(broker), '-t', topic, '-m', 'x', '-r', '-q', '1'])
    assert p.returncode == 0, p.stderr
    p = run([tmp_path / 'mosquitto_sub', *at(broker), '-t', topic, '-C', '1'])
    assert p.stdout == 'x\n'
    run([tmp_path / 'mosquitto_pub', *at(broker), '-t', topic, '-n', '-r', '-q', '1'])


def test_defaults_file(broker, topic, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path))
    for prog in ('pub', 'sub'):
        (tmp_path / f'mosquitto_{prog}').write_text(
            f'# for {prog}\n-h {HOST}\n-p {broker.port}\n-t {topic}/with space\n', encoding='utf-8')
    assert run([*PUBS['nightjar'], '-m', 'x', '-r', '-q', '1']).returncode == 0
    assert run([NIGHTJAR, 'sub', '-C', '1', '-v']).stdout == f'{topic}/with space x\n'
    assert run([*PUBS['nightjar'], '-n', '-r', '-q', '1']).returncode == 0


def test_watch():
    """-w: each topic has a line of the screen; the cursor rests below them."""
    with Peer(4) as peer, start(peer, 'sub', '-t', '#', '-w', '-v', '-C', '3') as p:
        c = peer.take()
        c.subscribed()
        for name, payload in (('a', b'1'), ('b', b'2'), ('a', b'3')):
            c.publish(name, payload)
        assert p.ends() == (b'\x1b[2J\x1b[1;1HBroker: 127.0.0.1\n'
                            b'\x1b[2;1Ha 1\n\x1b[2;1H\n\x1b[3;1Hb 2\n\x1b[3;1H\n'
                            b'\x1b[2;1Ha 3\n\x1b[3;1H\n')


@paced
def test_message_rate(pace):
    with Peer(4) as peer, start(peer, 'sub', '-t', '#', '--message-rate', '-W', str(2 + pace)) as p:
        c = peer.take()
        c.subscribed()
        for _ in range(10):
            c.publish('a', b'x')
        lines = p.ends(27).decode().splitlines()
        assert lines[0] == '10 msgs/s' and set(lines[1:]) == {'0 msgs/s'} and \
            len(lines) in (1 + pace, 2 + pace)


@pytest.mark.parametrize('args', [['--tls-engine', 'x'], ['--tls-engine-kpass-sha1', 'x']], ids=' '.join)
def test_unsupported_is_said(broker, args):
    p = run([*PUBS['nightjar'], *at(broker), '-t', 'a', '-m', 'x', *args])
    assert p.returncode == 1 and 'cannot be used' in p.stderr and 'To mend it' in p.stderr


@pytest.fixture(scope='module')
def secure(base_folder, pki):
    from conftest import Factory
    factory = Factory(base_folder)
    crt, key = pki.server
    yield factory(f'certfile {crt}\nkeyfile {key}\ncafile {pki.ca}\nrequire_certificate true\n')
    factory.finish()


def tls(broker, pki, cert=None, host='localhost'):
    crt, key = cert or pki.client
    return ['-h', host, '-p', str(broker.port), '--cafile', pki.ca, '--cert', crt, '--key', key]


@pytest.mark.parametrize('more', [[], ['--tls-version', 'tlsv1.2'], ['--tls-version', 'tlsv1.3'],
                                  ['--ciphers', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
                                  ['--tls-alpn', 'mqtt'], ['-V', '5']], ids=' '.join)
def test_tls(secure, pki, topic, more):
    sub = Sub('nightjar', tls(secure, pki) + more + ['-t', topic, '-C', '1', '-q', '2'])
    p = run(PUBS['nightjar'] + tls(secure, pki) + more + ['-t', topic, '-m', 'x', '-q', '2'])
    assert p.returncode == 0, p.stderr
    assert sub.end()[:2] == ('x\n', 0)


def test_locked_key(secure, pki, tmp_path):
    locked = pki.authority.encrypt_key(pki.client[1], 'open sesame')
    word = tmp_path / 'passphrase'
    word.write_text('open sesame\n', encoding='utf-8')
    os.chmod(word, 0o600)
    base = PUBS['nightjar'] + tls(secure, pki, (pki.client[0], locked)) + ['-t', 'a', '-m', 'x']
    p = run(base + ['--keypass-file', str(word)])
    assert p.returncode == 0, p.stderr
    word.write_text('wrong\n', encoding='utf-8')
    assert run(base + ['--keypass-file', str(word)]).returncode != 0
    p = run(base, start_new_session=True)
    assert p.returncode != 0 and '--keypass-file' in p.stderr


def test_tls_refusals_are_explained(secure, pki, broker):
    base = PUBS['nightjar'] + ['-t', 'a', '-m', 'x']
    port = ['-p', str(secure.port)]
    rows = [
        (base + tls(secure, pki, pki.stranger), 'certificate'),
        (base + tls(secure, pki, pki.expired), 'expired'),
        (base + ['-h', 'localhost', *port, '--cafile', pki.ca], 'certificate'),
        (base + ['-h', 'localhost', *port, '--cafile', pki.stranger_ca], 'CA|issue|trust'),
        (base + ['-h', 'localhost', *port], 'TLS|tls'),
        (base + ['-h', 'localhost', '-p', str(broker.port), '--cafile', pki.ca], 'TLS'),
    ]
    for argv, word in rows:
        p = run(argv)
        assert p.returncode != 0
        assert re.search(word, p.stderr), p.stderr
        assert 'To mend it' in p.stderr, p.stderr


@pytest.mark.parametrize('flag', [[], ['--nodelay']], ids=str)
@pytest.mark.parametrize('program', ['pub', 'sub', 'rr'])
def test_nodelay(program, flag):
    """Is always on; the flag of mosquitto_pub is taken."""
    more = {'pub': ['-m', 'x'], 'sub': [], 'rr': ['-m', 'x', '-e', 'answer']}[program]
    with socket.create_server((HOST, 0)) as s:
        argv = [NIGHTJAR, program, '-h', HOST, '-p', str(s.getsockname()[1]), '-t', 'a', *more, *flag]
        with subprocess.Popen(argv, stderr=subprocess.PIPE) as p:
            c = s.accept()[0]
            with c:
                assert c.recv(1) == b'\x10', p.stderr.read()
                on = nodelay(p.pid, s.getsockname())
                p.terminate()
    assert on


def test_wrong_name_needs_insecure(brokers, pki):
    crt, key = pki.other_name
    b = brokers(f'certfile {crt}\nkeyfile {key}\n')
    base = PUBS['nightjar'] + ['-h', 'localhost', '-p', str(b.port), '--cafile', pki.ca, '-t', 'a',
                               '-m', 'x']
    p = run(base)
    assert p.returncode != 0 and 'elsewhere.example' in p.stderr, p.stderr
    assert run(base + ['--insecure']).returncode == 0


@pytest.mark.alone
@paced
def test_bench(broker, pace):
    argv = [NIGHTJAR, 'bench', '--json', '-p', str(broker.port), '--pid', str(broker.pid), '-d', str(pace),
            '--warmup', '0']
    for more in (['-w', '10'], ['-w', '10', '-q', '1', '-V', '5'], ['-w', '10', '-q', '2'],
                 ['-r', '500', '-q', '1'], ['--pattern', 'fan-in', '-w', '5'],
                 ['--pattern', 'fan-out', '-w', '5'], ['--pattern', 'wildcards', '-w', '5']):
        p = run(argv + more)
        assert p.returncode == 0, p.stderr
        r = json.loads(p.stdout)
        assert r['delivered'] > 100
        assert (r['lost'], r['duplicates'], r['out_of_order']) == (0, 0, 0)
        assert r['latency_us']['p50'] <= r['latency_us']['p99'] <= r['latency_us']['max']
        assert r['broker_cpu_seconds'] > 0
    p = run(argv + ['-n', '100', '--pubs', '3', '-q', '1'])
    assert json.loads(p.stdout)['delivered'] == 300


@pytest.mark.alone
def test_bench_topics(broker):
    argv = [NIGHTJAR, 'bench', '--json', '-p', str(broker.port), '--warmup', '0', '--pubs', '2',
            '--retain', '--new-topics', '-n', '20']
    for name, more in (('a', []), ('b', ['-q', '1']), ('c', ['-q', '1', '-V', '5']),
                       ('d', ['--pattern', 'fan-in', '-V', '5'])):
        assert json.loads(run(argv + ['-t', name] + more).stdout)['delivered'] == 40
        got = run(SUBS['nightjar'] + ['-p', str(broker.port), '-t', name + '/#', '-C', '40', '-W', '9',
                                      '-F', '%r %t']).stdout.split('\n')[:40]
        assert all(line.startswith('1 ') for line in got)
        assert len({line.rsplit('/', 1)[1] for line in got}) == 20
        assert len(set(got)) == 40


@pytest.mark.alone
def test_bench_subscriptions(broker):
    argv = [NIGHTJAR, 'bench', '--json', '-p', str(broker.port), '--pid', str(broker.pid)]
    for kind in ('exact', 'plus', 'hash', 'mixed'):
        r = json.loads(run(argv + ['--mode', 'subscribe', '--others', '250', '--others-each', '120',
                                   '--others-kind', kind, '--settle', '0']).stdout)
        assert (r['subscriptions'], r['clients'], r['kind']) == (250, 3, kind)
        assert 'broker_bytes_per_subscription' in r
    r = json.loads(run(argv + ['--others', '300', '-w', '10', '-n', '50', '--warmup', '0']).stdout)
    assert r['delivered'] == 500


@pytest.mark.alone
@paced
def test_bench_connections(broker, secure, pki, pace):
    r = json.loads(run([NIGHTJAR, 'bench', '--json', '-p', str(broker.port), '--mode', 'connect',
                        '-d', str(pace), '--warmup', '0', '--concurrency', '5']).stdout)
    assert r['connections'] > 10 and r['failed'] == 0
    argv = [NIGHTJAR, 'bench', '--json', '--host', 'localhost', '-p', str(secure.port), '--cafile',
            pki.ca, '--cert', pki.client[0], '--key', pki.client[1], '--warmup', '0']
    r = json.loads(run(argv + ['--mode', 'connect', '-d', str(pace), '--resume']).stdout)
    assert r['resumed'] > 0 and r['failed'] == 0
    r = json.loads(run(argv + ['--mode', 'idle', '-c', '20', '--settle', '0', '--pid',
                               str(secure.pid)]).stdout)
    assert r['connections'] == 20 and 'broker_bytes_per_connection' in r


def test_bench_is_who_it_is_told_to_be(brokers, tmp_path):
    """As the broker sees it: names, versions, topics, sizes, and how much is under way."""
    path, secret = tmp_path / 'passwords', tmp_path / 'secret'
    path.write_text(passwords.pbkdf2('joe', 'pw'))
    secret.write_text('pw\nnot this\n')
    secret.chmod(0o600)
    b = brokers(f'password_file {path}\nthreads 1\n', anonymous=False)
    argv = [NIGHTJAR, 'bench', '--json', '--port', str(b.port), '--username', 'joe', '--password-file', str(secret),
            '--id-prefix', 'pre-', '--warmup', '0']
    mark = b.log_size()
    p = run([*argv, '--topic', 'top', '--pubs', '1', '--qos', '2', '--sub-qos', '1', '--size', '123', '--window', '1',
             '--count', '9', '--protocol-version', 'mqttv5'])
    assert p.returncode == 0, p.stderr
    r = json.loads(p.stdout)
    assert (r['delivered'], r['qos'], r['size'], r['window'], r['version']) == (9, 2, 123, 1, 'mqttv5')
    b.wait_log('(?s)disconnected.*disconnected', mark)
    log = b.log(mark)
    assert len(re.findall(r"as pre-\S+ \(p5, c\d, k\d+, u'joe'\)", log)) == 2
    assert re.search(r'pre-\S+ 1 top/', log), log
    passed = re.findall(r"(Received|Sending) PUBLISH \w+ pre-\S+ \(d0, q(\d), r0, m\d+, 'top/[^']*', \.\.\. \((\d+) bytes", log)
    assert passed == [('Received', '2', '123'), ('Sending', '1', '123')] * 9, log
    r = json.loads(run([*argv, '--rate', '50', '--duration', '1', '--pubs', '2']).stdout)
    assert (r['rate'], r['window'], r['lost']) == (50, 0, 0)
    assert 0 < r['sent'] <= 50 * r['seconds'] + 2	# none before its time
    mark = b.log_size()
    r = json.loads(run([*argv, '--mode', 'idle', '--connections', '7', '--settle', '0']).stdout)
    assert r['connections'] == 7
    wait_until(lambda: b.log(mark).count('New client connected from') == 7, 'all are in the log')
    assert len(re.findall(r"as pre-\S+ \(p2, ", b.log(mark))) == 7
    secret.write_text('no\n')
    assert run([*argv, '--count', '1']).returncode == 1


def test_bench_says_what_is_wrong(broker):
    for args, status in ((['--mode', 'none'], 2), (['--others-kind', 'x'], 2), (['--cert', 'x'], 2), (['--pid', 'x'], 2),
                         (['-p', str(free_port())], 1)):
        p = run([NIGHTJAR, 'bench', *args])
        assert p.returncode == status and p.stderr.startswith('nightjar: ')


def test_paho_hears_pub(broker, topic):
    with contextlib.closing(pahoc.Client(broker.port)) as c:
        c.subscribe(topic, 2)
        for qos in (0, 1, 2):
            p = run([*PUBS['nightjar'], *at(broker), '-t', topic, '-m', f'm{qos}', '-q', str(qos)])
            assert p.returncode == 0
            m = c.message()
            assert (m.payload, m.qos) == (f'm{qos}'.encode(), qos)
