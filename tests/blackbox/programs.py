# SPDX-License-Identifier: Apache-2.0
"""Client programs that the tests run: Debian's mosquitto_pub and
mosquitto_sub, a program over Paho C, and one over MQTT.js."""
import atexit
import fcntl
import filecmp
import os
import shutil
import subprocess
import tempfile

import pytest

from harness import NIGHTJAR, PATIENCE

HERE = os.path.dirname(os.path.abspath(__file__))
MOSQUITTO_NAMES = {'3.1': 'mqttv31', '3.1.1': 'mqttv311', '5.0': 'mqttv5'}
LEVELS = {'3.1': '3', '3.1.1': '4', '5.0': '5'}


def build_dir():
    """The build directory that the tests belong to, or None."""
    if os.environ.get('NJ_BUILD'):
        return os.environ['NJ_BUILD']
    folder = os.path.dirname(NIGHTJAR or '/')
    while folder != '/':
        if os.path.exists(os.path.join(folder, 'build.ninja')):
            return folder
        folder = os.path.dirname(folder)
    return None


def run(argv, timeout=PATIENCE + 10, **kw):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                          stderr=subprocess.STDOUT, timeout=timeout, text=True, **kw)


def mosquitto_round_trip(port, version, qos, topic, count, tls_args=()):
    """mosquitto_sub waits for what mosquitto_pub sends."""
    common = ['-h', 'localhost', '-p', str(port), '-V', MOSQUITTO_NAMES[version],
              '-t', topic, '-q', str(qos), *tls_args]
    with subprocess.Popen(['stdbuf', '-oL', 'mosquitto_sub', *common, '-C', str(count), '-W', '60', '-d',
                           '-F', '%q %p'], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as sub:
        shown, received = [], []
        for line in sub.stdout:
            shown.append(line)
            if line.startswith('Subscribed') or 'received SUBACK' in line:
                break
        else:
            raise AssertionError('mosquitto_sub did not subscribe:\n' + ''.join(shown))
        lines = ''.join(f'message {i}\n' for i in range(count))
        pub = subprocess.run(['mosquitto_pub', *common, '-l'], input=lines, text=True, check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE)
        assert pub.returncode == 0, pub.stdout
        for line in sub.stdout:
            shown.append(line)
            if line.startswith(f'{qos} message'):
                received.append(line.rstrip('\n'))
        assert sub.wait(PATIENCE) == 0, ''.join(shown)
    assert received == [f'{qos} message {i}' for i in range(count)]


def paho_c_round_trip(port, version, qos, topic, count, tls_files=(), ws=False):
    build = build_dir()
    program = build and os.path.join(build, 'tests', 'blackbox', 'paho_c', 'paho_roundtrip')
    if not program or not os.access(program, os.X_OK):
        pytest.skip('Paho C: paho_roundtrip is not built (libpaho-mqtt-dev)')
    scheme = ('wss' if tls_files else 'ws') if ws else 'ssl' if tls_files else 'tcp'
    p = run([program, f'{scheme}://localhost:{port}', LEVELS[version], str(qos), topic,
             str(count), *tls_files])
    assert p.returncode == 0, p.stdout


_js_folder = None
_js_missing = None	# why it could not be installed; asked once, it can take long


def install_mqttjs(folder):
    """Puts it there unless it is; why that failed, or None.  One process at a
    time: the tests run in several."""
    lock = os.path.join(HERE, 'js', 'package-lock.json')
    done = os.path.join(folder, 'installed.lock')
    with open(os.path.join(folder, 'installing'), 'w', encoding='ascii') as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if os.path.exists(done) and filecmp.cmp(lock, done, shallow=False):
            return None
        for name in os.listdir(os.path.join(HERE, 'js')):
            shutil.copy(os.path.join(HERE, 'js', name), folder)
        p = run(['npm', 'ci', '--no-audit', '--no-fund', '--ignore-scripts',
                 '--fetch-retries=1'], timeout=300, cwd=folder)
        if p.returncode == 0:
            shutil.copy(lock, done)
            return None
    return 'MQTT.js: npm could not install it: ' + p.stdout[-200:]


def mqttjs_folder():
    """A folder with MQTT.js installed as package-lock.json has it, and the
    programs of ours that use it."""
    global _js_folder, _js_missing  # pylint: disable=global-statement
    if _js_missing:
        pytest.skip(_js_missing)
    if _js_folder is None:
        if not shutil.which('npm') or not shutil.which('node'):
            pytest.skip('MQTT.js: there is no npm')
        build = build_dir()
        installed = os.path.join(build, 'mqttjs') if build else tempfile.mkdtemp(prefix='mqttjs-')
        os.makedirs(installed, exist_ok=True)
        _js_missing = install_mqttjs(installed)
        if _js_missing:
            pytest.skip(_js_missing)
        # Node looks for modules where the program lies: each process has its
        # own copies, beside a link.
        _js_folder = tempfile.mkdtemp(prefix='mqttjs-')
        atexit.register(shutil.rmtree, _js_folder, ignore_errors=True)
        os.symlink(os.path.join(installed, 'node_modules'), os.path.join(_js_folder, 'node_modules'))
        for name in ('package.json', 'roundtrip.mjs', 'scram.mjs'):
            shutil.copy(os.path.join(HERE, 'js', name), _js_folder)
    return _js_folder


def mqttjs_round_trip(port, version, qos, topic, count, tls_files=(), ws=False):
    folder = mqttjs_folder()
    scheme = ('wss' if tls_files else 'ws') if ws else 'mqtts' if tls_files else 'mqtt'
    p = run(['node', 'roundtrip.mjs', f'{scheme}://localhost:{port}', LEVELS[version], str(qos),
             topic, str(count), *tls_files], cwd=folder)
    assert p.returncode == 0, p.stdout
