# SPDX-License-Identifier: Apache-2.0
"""nightjar ca device --p12 and --for: what it makes is run as it stands, each
against a right broker and against one whose certificate, of the same CA, has
another name."""
import contextlib
import glob
import json
import os
import re
import shutil
import stat
import subprocess

import pytest
import yaml

import harness
import programs

pytestmark = pytest.mark.ours

JARS = '/usr/share/java'
FUSESOURCE = [f'{JARS}/{n}.jar' for n in
              ('mqtt-client', 'hawtbuf', 'hawtdispatch', 'hawtdispatch-transport')]
PAHO_JAVA = os.path.expanduser('~/.m2/repository/org/eclipse/paho/org.eclipse.paho.client.mqttv3/'
                               '1.2.5/org.eclipse.paho.client.mqttv3-1.2.5.jar')


def nightjar_ca(folder, verb, *args, status=0):
    p = subprocess.run([harness.NIGHTJAR, 'ca', verb, '--dir', folder, *args],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                       stderr=subprocess.STDOUT, text=True, start_new_session=True)
    assert p.returncode == status, p.stdout
    return p.stdout


def openssl(*args):
    p = subprocess.run(['openssl', *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, check=False)
    assert p.returncode == 0, p.stdout
    return p.stdout


LISTENER = '''
listener {port}
cafile {dir}/pki/ca.crt
certfile {crt}
keyfile {key}
require_certificate true
use_identity_as_username true
'''


class Site:
    """A CA, a broker with a right certificate and one with another name."""

    def __init__(self, folder):
        self.dir = folder
        self.port, self.wrong_port = harness.free_port(), harness.free_port()
        nightjar_ca(folder, 'init')
        nightjar_ca(folder, 'server', 'localhost')
        other = self._other_name()
        server = [os.path.join(folder, 'server', 'server' + e) for e in ('.crt', '.key')]
        conf = ''.join(LISTENER.format(port=p, dir=folder, crt=c, key=k) for p, (c, k) in
                       ((self.port, server), (self.wrong_port, other)))
        self.broker = harness.Broker(folder, conf + 'allow_anonymous false\nlog_type all\nuser root\n',
                                     self.port, [self.wrong_port])
        self.broker.start()

    def _other_name(self):
        key, csr, crt, ext = (os.path.join(self.dir, 'other' + e)
                              for e in ('.key', '.csr', '.crt', '.ext'))
        openssl('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                '-keyout', key, '-out', csr, '-subj', '/CN=elsewhere.example')
        with open(ext, 'w', encoding='ascii') as f:
            f.write('subjectAltName=DNS:elsewhere.example\nextendedKeyUsage=serverAuth\n')
        openssl('x509', '-req', '-in', csr, '-CA', os.path.join(self.dir, 'pki', 'ca.crt'),
                '-CAkey', os.path.join(self.dir, 'pki', 'ca.key'), '-days', '5', '-out', crt,
                '-passin', 'file:' + os.path.join(self.dir, 'ca.passphrase'), '-extfile', ext)
        return crt, key

    def device(self, name, *args, status=0):
        return nightjar_ca(self.dir, 'device', name, *args, status=status)

    def kit(self, name, *kits, port=None):
        args = [a for k in kits for a in ('--for', k)]
        self.device(name, '--host', 'localhost', '--port', str(port or self.port), *args)
        return os.path.join(self.dir, 'devices', name)


@pytest.fixture(scope='module')
def site(base_folder):
    folder = os.path.join(base_folder, 'kits')
    os.mkdir(folder)
    made = Site(folder)
    yield made
    assert made.broker.stop() == 0
    assert made.broker.faults() == ''


@contextlib.contextmanager
def running(argv, folder, env=None):
    with subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})}) as p:
        try:
            yield p
        finally:
            p.kill()


def says_hello(argv, folder, name, env=None):
    """The program connects, and gets back what it sent."""
    want, shown = f'devices/{name}/hello hello from {name}', []
    with running(['timeout', '600', *argv], folder, env) as p:
        for line in p.stdout:
            shown.append(line)
            if line.strip() == want:
                return
    raise AssertionError(''.join(shown))


def refuses(argv, folder, pattern, env=None):
    """It says why it does not connect, and never gets as far as MQTT."""
    shown = []
    with running(['timeout', '600', *argv], folder, env) as p:
        for line in p.stdout:
            shown.append(line)
            assert 'connected as' not in line
            if re.search(pattern, line, re.I):
                return
    raise AssertionError(''.join(shown))


def java(*jars):
    if not shutil.which('javac'):
        pytest.skip('Java: there is no JDK (openjdk-17-jdk-headless)')
    for jar in jars:
        if not os.path.exists(jar):
            pytest.skip(f'Java: {os.path.basename(jar)} is not there')
    # The verifier and the second compiler take longer than the program runs.
    return ['java', '-XX:TieredStopAtLevel=1', *(['-cp', ':'.join(jars)] if jars else [])]


def go():
    if not shutil.which('go'):
        pytest.skip('Go: there is no go')
    folder = os.environ.get('GOMODCACHE') or os.path.expanduser('~/go/pkg/mod')
    if not glob.glob(f'{folder}/github.com/eclipse/paho.mqtt.golang@v1.5.1'):
        pytest.skip('Go: github.com/eclipse/paho.mqtt.golang v1.5.1 is not in the module cache')
    return ['go', 'run', '.']


PROGRAMS = {
    'python': (lambda: ['/usr/bin/python3', 'client.py'], 'python',
               "certificate is not valid for 'localhost'|hostname mismatch"),
    'node': (lambda: ['node', 'client.js'], 'node', "does not match certificate's altnames"),
    'java': (lambda: [*java(), 'Client.java'], 'java', 'no.*name matching localhost'),
    'paho-java': (lambda: [*java(PAHO_JAVA), 'PahoClient.java'], 'java', 'no.*name matching localhost'),
    'fusesource': (lambda: [*java(*FUSESOURCE), 'FusesourceClient.java'], 'java',
                   'no.*name matching localhost'),
    'go': (go, 'go', 'certificate is valid for elsewhere.example, not localhost'),
}


@pytest.mark.parametrize('name', PROGRAMS)
def test_runs_as_written(site, name):
    argv, kit, pattern = PROGRAMS[name]
    argv = argv()
    env = {'GOFLAGS': '-mod=mod', 'GOPROXY': 'off'} if name == 'go' else {}
    if name == 'node':
        env['NODE_PATH'] = os.path.join(programs.mqttjs_folder(), 'node_modules')
    says_hello(argv, site.kit(f'{name}-right', kit), f'{name}-right', env)
    refuses(argv, site.kit(f'{name}-wrong', kit, port=site.wrong_port), pattern, env)


def test_mosquitto_programs(site):
    folder = site.kit('mosq', 'mosquitto')
    with running(['stdbuf', '-oL', './mosquitto.sh', 'sub', '-t', 'devices/mosq/#', '-v', '-C', '1', '-W', '60', '-d'],
                 folder) as sub:
        for line in sub.stdout:
            if 'received SUBACK' in line or line.startswith('Subscribed'):
                break
        pub = programs.run(['./mosquitto.sh', 'pub', '-t', 'devices/mosq/hello', '-m', 'hi', '-q', '1'],
                           cwd=folder)
        assert pub.returncode == 0, pub.stdout
        assert 'devices/mosq/hello hi' in sub.stdout.read()
    wrong = site.kit('mosq-wrong', 'mosquitto', port=site.wrong_port)
    p = programs.run(['./mosquitto.sh', 'pub', '-t', 'a', '-m', 'b'], cwd=wrong)
    assert p.returncode != 0, p.stdout


def test_mosquitto_bridge(site):
    if not harness.MOSQUITTO:
        pytest.skip('Mosquitto: the broker is not there')
    folder = site.kit('bridge', 'mosquitto')
    port = harness.free_port()
    conf = os.path.join(folder, 'm.conf')
    with open(conf, 'w', encoding='ascii') as f:
        f.write(f'listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n'
                f'include_dir {folder}/conf.d\n')
    os.mkdir(os.path.join(folder, 'conf.d'))
    shutil.copy(os.path.join(folder, 'mosquitto-bridge.conf'), os.path.join(folder, 'conf.d'))
    start = site.broker.log_size()
    with running([harness.MOSQUITTO, '-c', conf], folder):
        site.broker.wait_log(r'as bridge\b', start)
        mine = site.kit('bridge-reader', 'mosquitto')
        with running(['stdbuf', '-oL', './mosquitto.sh', 'sub', '-t', 'devices/bridge/#', '-C', '1', '-W', '60', '-d'],
                     mine) as sub:
            for line in sub.stdout:
                if 'received SUBACK' in line or line.startswith('Subscribed'):
                    break
            p = programs.run(['mosquitto_pub', '-p', str(port), '-t', 'devices/bridge/x', '-m', 'over',
                              '-q', '1'])
            assert p.returncode == 0, p.stdout
            assert 'over' in sub.stdout.read()


def c_strings(path):
    """The strings of certs.h, as a C compiler sees them."""
    program = '#include <stdio.h>\n#include "certs.h"\nint main(void)' \
        '{ printf("%s|%s|%s|%s %d %s", ca_crt, client_crt, client_key, BROKER_HOST, BROKER_PORT,' \
        ' BROKER_NAME); }\n'
    binary = path + '.bin'
    subprocess.run(['gcc', '-Wall', '-Werror', '-x', 'c', '-I', os.path.dirname(path), '-o', binary, '-'],
                   input=program, text=True, check=True)
    return subprocess.run([binary], stdout=subprocess.PIPE, text=True, check=True).stdout.split('|')


def read(*parts):
    with open(os.path.join(*parts), encoding='ascii') as f:
        return f.read()


def test_microcontrollers(site):
    site.device('esp', '--for', 'esp32', '--for', 'arduino', '--host', '192.168.7.7', '--port', '8883')
    folder = os.path.join(site.dir, 'devices', 'esp')
    assert sorted(os.listdir(os.path.join(folder, 'esp32', 'main'))) == [
        'CMakeLists.txt', 'Kconfig.projbuild', 'certs.h', 'main.c']
    for header in ('esp32/main/certs.h', 'sketch/certs.h'):
        path = os.path.join(folder, header)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        ca, crt, key, rest = c_strings(path)
        assert ca == read(site.dir, 'pki', 'ca.crt')
        assert crt == read(folder, 'client.crt')
        assert key == read(folder, 'client.key')
        # An address is reached, and a name compared.
        assert rest == '192.168.7.7 8883 localhost'
    assert '.common_name = BROKER_NAME' in read(folder, 'esp32', 'main', 'main.c')
    assert 'setCACert' in read(folder, 'sketch', 'sketch.ino')


def test_words_only(site):
    folder = site.kit('words', 'homeassistant', 'browser')
    text = read(folder, 'homeassistant.txt')
    assert f'Port:     {site.port}' in text and 'Client ID:                      words' in text
    entities = yaml.safe_load(read(folder, 'homeassistant.yaml'))
    assert entities['mqtt']['sensor'][0]['state_topic'] == 'devices/words/hello'
    assert 'client.p12.password' in read(folder, 'browser.txt')
    assert '@NJ_' not in ''.join(read(f) for f in glob.glob(folder + '/*.*') if not f.endswith('.p12'))


def info(path, password):
    return openssl('pkcs12', '-info', '-in', path, '-noout', '-passin', 'pass:' + password)


def test_p12_forms(site):
    want = {'modern': ['AES-256-CBC', 'hmacWithSHA256', 'MAC: sha256'],
            'java': ['AES-256-CBC', 'hmacWithSHA256', 'MAC: sha256'],
            'android': ['pbeWithSHA1And3-KeyTripleDES-CBC', 'MAC: sha1']}
    for form, words in want.items():
        out = site.device('form-' + form, '--p12', form)
        folder = os.path.join(site.dir, 'devices', 'form-' + form)
        for name in ('client.p12', 'client.p12.password'):
            assert stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode) == 0o600
        password = read(folder, 'client.p12.password').strip()
        shown = info(os.path.join(folder, 'client.p12'), password)
        assert all(w in shown for w in words), shown
        assert 'RC2' not in shown
        if form == 'android':
            # Nothing of the legacy provider is needed, which Android has not.
            assert 'weak encryption' in out and 'AES' not in shown
            assert len(password) == 16 and password.islower()
    out = site.device('form-x', '--p12', 'pfx', status=1)
    assert 'modern, android, java' in out
    assert not os.path.exists(os.path.join(site.dir, 'devices', 'form-x'))


def test_p12_holds_key_and_chain(site):
    site.device('whole', '--p12', 'modern')
    folder = os.path.join(site.dir, 'devices', 'whole')
    password = 'file:' + os.path.join(folder, 'client.p12.password')
    p12 = os.path.join(folder, 'client.p12')
    key = openssl('pkcs12', '-in', p12, '-nocerts', '-nodes', '-passin', password)
    assert read(folder, 'client.key').strip() in key
    certs = openssl('pkcs12', '-in', p12, '-nokeys', '-passin', password)
    assert read(folder, 'client.crt').strip() in certs and read(folder, 'ca.crt').strip() in certs


def test_java_keystore(site):
    if not shutil.which('keytool'):
        pytest.skip('Java: there is no keytool (openjdk-17-jre-headless)')
    site.device('store', '--p12', 'java')
    folder = os.path.join(site.dir, 'devices', 'store')
    password = read(folder, 'client.p12.password').strip()

    def entries(name):
        return programs.run(['keytool', '-J-XX:TieredStopAtLevel=1', '-list', '-keystore',
                             os.path.join(folder, name), '-storepass', password]).stdout
    both = entries('client.p12')
    assert 'store, ' in both and 'PrivateKeyEntry' in both
    assert 'nightjar-ca, ' in both and 'trustedCertEntry' in both
    trust = entries('trust.p12')
    assert 'trustedCertEntry' in trust and 'contains 1 entry' in trust


def test_passphrase(site, tmp_path):
    secret = tmp_path / 'secret'
    secret.write_text('of the device\n', encoding='ascii')
    secret.chmod(0o600)
    site.device('locked', '--key-passphrase-file', str(secret), '--p12', 'java', '--for', 'python',
                '--host', 'localhost', '--port', str(site.port))
    folder = os.path.join(site.dir, 'devices', 'locked')
    shown = openssl('asn1parse', '-in', os.path.join(folder, 'client.key'))
    assert ':PBES2' in shown and ':PBKDF2' in shown and ':hmacWithSHA256' in shown
    assert not os.path.exists(os.path.join(folder, 'client.p12.password'))
    assert 'Iteration 100000' in info(os.path.join(folder, 'client.p12'), 'of the device')
    says_hello(['/usr/bin/python3', 'client.py'], folder, 'locked', {'KEY_PASSPHRASE': 'of the device'})
    for kit in ('esp32', 'arduino', 'go', 'homeassistant'):
        out = site.device('locked2', '--key-passphrase-file', str(secret), '--for', kit, status=1)
        assert 'encrypted' in out
    assert 'no terminal' in site.device('locked2', '--passphrase', status=1)
    assert not os.path.exists(os.path.join(site.dir, 'devices', 'locked2'))


def test_added_later(site):
    """A device that has its certificate keeps it, and what a person changed
    stays as it is."""
    site.device('later')
    folder = os.path.join(site.dir, 'devices', 'later')
    crt = read(folder, 'client.crt')
    out = site.device('later', '--for', 'python', '--p12', 'modern')
    assert 'has its certificate already' in out
    assert read(folder, 'client.crt') == crt
    with open(os.path.join(folder, 'client.py'), 'a', encoding='ascii') as f:
        f.write('# mine\n')
    p12 = os.stat(os.path.join(folder, 'client.p12')).st_mtime_ns
    out = site.device('later', '--for', 'python', '--p12', 'modern')
    assert out.count('stays as it is') == 2
    assert read(folder, 'client.py').endswith('# mine\n')
    assert os.stat(os.path.join(folder, 'client.p12')).st_mtime_ns == p12
    # The registry has one certificate for it.
    listed = json.loads(nightjar_ca(site.dir, 'list', '--json'))
    assert len([e for e in listed if e['id'] == 'later']) == 1


def test_other_words(site):
    assert 'mosquitto, python, node' in site.device('x', '--for', 'cobol', status=1)
    out = site.device('elsewhere', '--for', 'python', '--host', 'other.example')
    assert 'nightjar ca server other.example' in out
    assert 'HOST, PORT, ID = "other.example", 8883' in read(site.dir, 'devices', 'elsewhere', 'client.py')
