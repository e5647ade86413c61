# SPDX-License-Identifier: Apache-2.0
"""The configuration file as an operator meets it: what loads, what is
refused with which words, and what signals do."""
import os
import signal
import subprocess

import pytest

import pahoc
import passwords
from harness import HOST, NIGHTJAR, PATIENCE, REFERENCE, free_port, wait_until
from raw import PUBLISH, Closed, Raw

ours = pytest.mark.ours


def check_config(folder, text, *args):
    """`nightjar serve --test-config` of a text: (status, all that it says)."""
    path = os.path.join(str(folder), 'tested.conf')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
    p = subprocess.run([NIGHTJAR, 'serve', '-c', path, '--test-config', *args], check=False,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=PATIENCE,
                       stderr=subprocess.STDOUT, text=True)
    assert 'Sanitizer' not in p.stdout, p.stdout
    return p.returncode, p.stdout


@ours
def test_good_file(tmp_path, pki):
    crt, key = pki.server
    status, text = check_config(tmp_path, f'''# a comment
listener {free_port()} {HOST}
certfile {crt}
keyfile {key}
cafile {pki.ca}
require_certificate true
crlfile {pki.crl}
use_identity_as_username true
max_inflight_messages 20
persistent_client_expiration 2m
''')
    assert status == 0, text


@ours
@pytest.mark.parametrize('line, words', [
    ('alow_anonymous true', ['alow_anonymous', 'allow_anonymous']),
    ('allow_anonymous maybe', ['maybe', 'true']),
    ('listener 99999', ['99999']),
    ('listener', ['listener']),
    ('max_queued_messages many', ['many']),
    ('log_type loud', ['loud']),
    ('tls_version tlsv9', ['tlsv9']),
    ('password_file /nonexistent/file', ['/nonexistent/file']),
])
def test_wrong_line_is_explained(tmp_path, line, words):
    """File, line, the word, and what was expected."""
    status, text = check_config(tmp_path, f'listener {free_port()} {HOST}\n\n{line}\n')
    assert status != 0
    found = [x for x in text.splitlines() if 'tested.conf:3' in x]
    assert found and all(any(w in x for x in found) for w in words), text


@ours
def test_all_faults_in_one_run(tmp_path):
    status, text = check_config(tmp_path, f'''listener {free_port()} {HOST}
certfile /nonexistent/server.crt
keyfile /nonexistent/server.key
cafile /nonexistent/ca.crt
password_file /nonexistent/passwords
max_keepalive often
no_such_option 1
''')
    assert status != 0
    for word in ('server.crt', 'server.key', 'ca.crt', 'passwords', 'often', 'no_such_option'):
        assert word in text, f'{word} is not named in:\n{text}'


@ours
@pytest.mark.parametrize('line', ['auth_plugin {}', 'plugin {}'])
def test_unfinished_restrictions_refuse_the_start(tmp_path, line):
    """What would keep somebody out is never skipped in silence."""
    path = tmp_path / 'some-file'
    path.write_text('user x\n')
    conf = f'listener {free_port()} {HOST}\n' + line.format(path) + '\n'
    status, text = check_config(tmp_path, conf)
    assert status != 0 and line.split()[0] in text, text


# What only tunes something that is not here.
WITHOUT_EFFECT = (
    ('packet_buffer_size 1', 'buffers grow as bytes arrive'),
    ('dhparamfile /nonexistent', 'elliptic curves only'),
    ('retain_expiry_interval 1', 'dropped within seconds'),
    ('retry_interval 1', 'when a client reconnects'),
    ('websockets_log_level 255', 'libwebsockets is not used'),
)


@ours
def test_lines_without_effect(brokers, pki, topic):
    """Each is warned about, with its place and what mends it, and all is as without it."""
    crt, key = pki.server
    b = brokers(f'certfile {crt}\nkeyfile {key}\n' + ''.join(f'{line}\n' for line, _ in WITHOUT_EFFECT))
    for line, why in WITHOUT_EFFECT:
        b.wait_log(rf'(?m)broker\.conf:\d+:1: warning: {line.split()[0]}: .*{why}.*Mend: delete this line')
    with Raw(b.port, tls=pahoc.tls_context(pki.ca)) as c:
        c.connect('served')
        c.subscribe(topic, qos=1)
        c.publish_acked(topic, b'x' * 100_000, 1, retain=True)
        first = c.expect(PUBLISH)
        c.ping()		# what it does not acknowledge is not sent again
        assert not c.later and len(first.payload) == 100_000
        assert c.subscribe(topic) == [0]
        assert c.message().retain


@ours
@pytest.mark.parametrize('lines, why', [
    ('tls_engine pkcs11', 'an end to engines.*key file in PEM form'),
    ('tls_engine_kpass_sha1 a9993e364706816aba3e25717850c26c9cd0d89d', 'an end to engines.*keyfile_password_file'),
    ('tls_keyform engine', 'an end to engines.*key file in PEM form'),
    ('tls_keyform der', "'der' is no value for tls_keyform: expected pem"),
    ('http_dir /usr/share', 'not served over HTTP yet.*web server'),
    ('log_facility 8', "'8' is no value for log_facility: expected a number from 0 to 7"),
    ('auth_plugin_deny_special_chars true', 'about a plug-in, and none stands above it'),
    ('listener_auto_id_prefix ' + 51 * 'x', 'listener_auto_id_prefix'),
])
def test_lines_that_refuse_the_start(brokers, pki, lines, why):
    """In words that say what to do; never a broker that does without them."""
    crt, key = pki.server
    conf = f'certfile {crt}\nkeyfile {key}\n{lines}\n'
    brokers(conf, start=False).refuses(rf'broker\.conf:7:\d+: error: [^\n]*{why}')


@ours
def test_certificate_without_listener_is_an_error(tmp_path, pki):
    """Never an open port in its place (Mosquitto 2.0.12)."""
    status, text = check_config(tmp_path, f'cafile {pki.ca}\n')
    assert status != 0 and 'cafile' in text, text


@ours
def test_second_seed(brokers, pki, tmp_path):
    """Its file as it is: tlsv1 is warned about, the key has a passphrase."""
    crt, key = pki.server
    locked = pki.authority.encrypt_key(key, 'thunder')
    phrase = tmp_path / 'passphrase'
    phrase.write_text('thunder\n')
    phrase.chmod(0o600)
    port = free_port()
    b = brokers(f'listener {port}\ncafile {pki.ca}\ncertfile {crt}\nkeyfile {locked}\n'
                f'tls_version tlsv1\nkeyfile_password_file {phrase}\n',
                extra_ports=[port])
    b.wait_log(r'tls_version.*1\.2|1\.2.*tls_version')
    with Raw(port, tls=pahoc.tls_context(pki.ca)) as c:
        c.connect('seed2')


def rsa_certificate(pki, bits, digest):
    """A certificate as the documents of old made them."""
    a = pki.authority
    key, crt = a.path(f'rsa{bits}{digest}.key'), a.path(f'rsa{bits}{digest}.crt')
    a.openssl('req', '-x509', '-newkey', f'rsa:{bits}', '-nodes', f'-{digest}', '-subj',
              '/CN=futro-s450', '-keyout', key, '-out', crt)
    os.chmod(key, 0o600)
    return crt, key


@ours
@pytest.mark.parametrize('bits, digest, why', [(1024, 'sha256', 'RSA'), (2048, 'sha1', 'SHA')])
def test_third_seed(tmp_path, pki, bits, digest, why):
    """RSA-1024 and SHA-1 are refused, with the command that does better."""
    crt, key = rsa_certificate(pki, bits, digest)
    status, text = check_config(tmp_path, f'listener {free_port()} {HOST}\ntls_version tlsv1\n'
                               f'cafile {pki.ca}\ncertfile {crt}\nkeyfile {key}\n'
                               'require_certificate false\n')
    assert status != 0
    assert why in text and 'nightjar ca' in text, text


@ours
def test_key_of_another_certificate(tmp_path, pki):
    status, text = check_config(tmp_path, f'listener {free_port()} {HOST}\n'
                               f'certfile {pki.server[0]}\nkeyfile {pki.client[1]}\n')
    assert status != 0 and 'key' in text


def test_include_dir(brokers, tmp_path):
    extra = tmp_path / 'conf.d'
    extra.mkdir()
    port = free_port()
    (extra / 'b.conf').write_text(f'listener {port} {HOST}\n')
    (extra / 'ignored.txt').write_text('no_such_option\n')
    brokers(f'include_dir {extra}\n', extra_ports=[port])
    with Raw(port) as c:
        c.connect('included')


@pytest.mark.ours
def test_too_few_files_to_start(tmp_path):
    """With one more each time, until it runs: it says what it lacks.  The last is for
    its signals: without, who comes after SIGHUP might not wait for that."""
    conf = tmp_path / 'c.conf'
    conf.write_text(f'listener {free_port()} {HOST}\nallow_anonymous true\nthreads 1\n')
    last = ''
    for most in range(5, 64):
        with subprocess.Popen(['prlimit', f'--nofile={most}', NIGHTJAR, 'serve', '-c', conf],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as p:
            said = ''
            while ' running, ' not in said and (line := p.stdout.readline()):
                said += line
            p.terminate()
            said += p.communicate(timeout=PATIENCE)[0]
        if p.returncode == 0:
            break
        assert p.returncode == 1 and 'Error: ' in said, (most, said)
        last = said
    assert 'signals cannot be waited for: Too many open files\nlet it open more files' in last, last


def test_pid_file(brokers, tmp_path):
    path = tmp_path / 'broker.pid'
    tmp_path.chmod(0o755)
    b = brokers(f'pid_file {path}\n')
    if not path.exists():
        pytest.skip('written only with -d, as Mosquitto does')
    assert int(path.read_text()) == b.pid
    b.stop()


def test_several_listeners(brokers, topic):
    ports = [free_port() for _ in range(3)]
    b = brokers(''.join(f'listener {p} {HOST}\n' for p in ports), extra_ports=ports)
    with Raw(ports[0]) as s, Raw(ports[2]) as p:
        s.connect('s')
        p.connect('p')
        s.subscribe(topic)
        p.publish(topic, 'across listeners')
        assert s.message().payload == b'across listeners'
    assert b.alive()


@ours
def test_max_connections(brokers):
    b = brokers('max_connections 3\n')
    b.settled()
    clients = [Raw(b.port) for _ in range(3)]
    for i, c in enumerate(clients):
        c.connect(f'in-{i}')
    try:
        with Raw(b.port) as c:
            c.connect('out', want=0x97)
    except (Closed, OSError):
        pass		# closed before it could say anything: fine
    clients.pop().close()

    def fits():
        try:
            with Raw(b.port) as c:
                c.connect('again')
            return True
        except (Closed, OSError, AssertionError):
            return False
    wait_until(fits, 'a place is free again')
    for c in clients:
        c.close()


@ours
def test_port_in_use_is_explained(brokers):
    b = brokers()
    second = brokers(port=b.port, start=False)
    with pytest.raises(AssertionError, match=rf'(?s)ended with [1-9].*{b.port}'):
        second.ports = [free_port()]		# the first one answers on its own
        second.start()
    second.process = None


def test_sigterm_ends_cleanly(brokers, topic):
    """Clients of 5.0 are told, the status is 0."""
    b = brokers()
    c = Raw(b.port)
    c.connect('told')
    assert b.stop() == 0
    if REFERENCE:
        return
    assert c.closed() in (0x8b, None)
    c.close()


def test_sigint_ends_cleanly(brokers):
    b = brokers()
    b.process.send_signal(signal.SIGINT)
    assert b.process.wait(PATIENCE) == 0
    b.process = None


@ours
@pytest.mark.parametrize('conf, said', [
    ('', "Nothing to save: without 'persistence true' all is in memory"),
    ('persistence true\npersistence_location store\n', 'Nothing to save: what is to outlive')])
def test_sigusr1_says_what_is_kept(brokers, conf, said):
    b = brokers(conf)
    start = b.log_size()
    b.process.send_signal(signal.SIGUSR1)
    b.wait_log(said, start)


@ours
def test_what_mosquitto_takes_otherwise(brokers, monkeypatch):
    """An option of its command line, a variable of its environment."""
    p = subprocess.run([NIGHTJAR, 'serve', '--tls-keylog', 'keys'], capture_output=True, text=True,
                       timeout=PATIENCE, check=False)
    assert p.returncode == 3
    assert 'is refused' in p.stderr and 'nightjar pub' in p.stderr
    monkeypatch.setenv('MOSQUITTO_UNSAFE_ALLOW_SYMLINKS', '1')
    brokers().wait_log('allow_linked_files true')
    b = brokers('allow_linked_files true\n')
    assert 'UNSAFE' not in b.log()


def test_reload_keeps_connections(brokers, topic):
    b = brokers()
    with Raw(b.port) as c:
        c.connect('stays')
        c.subscribe(topic)
        b.reload()
        c.publish(topic, 'still here')
        assert c.message().payload == b'still here'


@ours
def test_reload_with_a_bad_file_keeps_the_old(brokers, tmp_path):
    """A broken password file changes nothing but the log (Mosquitto exits)."""
    path = tmp_path / 'passwords'
    path.write_text(passwords.sha512('six', 'six'))
    path.chmod(0o600)
    tmp_path.chmod(0o755)
    b = brokers(f'password_file {path}\n', anonymous=False)
    path.write_text('six:broken\n')
    start = b.log_size()
    b.hup()
    b.wait_log('passwords', start)
    with Raw(b.port) as c:
        c.connect('old', username='six', password='six')
    path.unlink()
    start = b.log_size()
    b.hup()
    b.wait_log('passwords', start)
    with Raw(b.port) as c:
        c.connect('old', username='six', password='six')


def test_log_to_a_file(brokers, tmp_path):
    path = tmp_path / 'own.log'
    tmp_path.chmod(0o777)
    b = brokers(f'log_dest file {path}\n')
    with Raw(b.port) as c:
        c.connect('seen-in-file')
    wait_until(lambda: path.exists() and 'seen-in-file' in path.read_text(), 'the log file names it')


@ours
def test_log_type_all_follows_a_client(brokers, topic):
    """From accept to close, by its name."""
    b = brokers()
    with Raw(b.port) as c:
        c.connect('followed')
        c.subscribe(topic)
        c.publish(topic, 'x')
        c.message()
        c.disconnect()
    for what in ('CONNECT', 'SUBSCRIBE', 'PUBLISH', 'DISCONNECT|disconnect'):
        b.wait_log(rf'(?m)^.*followed.*(?:{what})|(?:{what}).*followed')


@ours
def test_default_log_is_quiet(brokers, topic):
    b = brokers('log_type error\nlog_type warning\nlog_type notice\n', anonymous=True)
    text = open(b.conf_path, encoding='utf-8').read().replace('log_type all\n', '')
    b.stop()
    b.write_conf(text)
    start = b.log_size()
    b.start()
    b.settled(start)
    start = b.log_size()
    with Raw(b.port) as c:
        c.connect('quiet')
        c.subscribe(topic)
        for _ in range(50):
            c.publish(topic, 'x')
            c.message()
        c.disconnect()
    b.wait_log('quiet disconnected', start)
    assert len(b.log(start).splitlines()) <= 4, b.log(start)


@ours
def test_help_options_names_every_option():
    p = subprocess.run([NIGHTJAR, 'serve', '--help-options'], stdout=subprocess.PIPE, text=True,
                       stderr=subprocess.STDOUT, check=False, timeout=PATIENCE)
    for name in ('listener', 'cafile', 'allow_anonymous', 'max_queued_messages', 'log_type',
                 'connection', 'acl_file', 'persistence_location'):
        assert name in p.stdout
