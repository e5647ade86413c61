# SPDX-License-Identifier: Apache-2.0
"""The guides of docs/guides: every command in them, as it is written, one
guide after the other in a shell, a home and a network of its own.

```sh blocks run in their order; a failing command fails the test.  A block
```sh server is left running, as in another terminal, until the guide ends."""
import os
import re
import shutil
import subprocess

import pytest

from harness import MOSQUITTO, NIGHTJAR, ROOT

pytestmark = pytest.mark.ours

GUIDES = os.path.join(ROOT, 'docs', 'guides')
NOBODY = 65534
# A network with nothing but loopback, so that the ports of the guides are free;
# then not root, so that it is as in a person's terminal.
AS_ROOT = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec setpriv --reuid 65534 '
           '--regid 65534 --clear-groups bash "$0"']
AS_USER = ['unshare', '--map-root-user', '--net', 'sh', '-c', 'ip link set lo up && exec bash "$0"']
SERVER = '''
( {block}
) >>server.log 2>&1 &
SERVER=$!
for i in $(seq 1200); do
  (exec 3<>/dev/tcp/127.0.0.1/8883) 2>/dev/null && break
  kill -0 $SERVER || {{ cat server.log; exit 1; }}
  sleep 0.1
done
'''
HEAD = '''set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
set -x
'''


def script(name):
    with open(os.path.join(GUIDES, name), encoding='utf-8') as f:
        blocks = re.findall(r'^```sh( server)?\n(.*?)^```$', f.read(), re.M | re.S)
    return HEAD + ''.join(SERVER.format(block=b) if server else b for server, b in blocks)


def network():
    how = AS_ROOT if os.geteuid() == 0 else AS_USER
    if not (shutil.which('unshare') and shutil.which('ip') and shutil.which('setpriv')):
        return None
    probe = subprocess.run([*how[:-1], 'ip link set lo up'], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=False)
    return how if probe.returncode == 0 else None


def run(text, tmp_path, more=None):
    """What it said."""
    how = network()
    if not how:
        pytest.skip('no network of its own can be made here (unshare, ip, setpriv)')
    home = tmp_path / 'home'
    (home / 'bin').mkdir(parents=True)
    (home / 'bin' / 'nightjar').symlink_to(NIGHTJAR)
    (home / 'guide.sh').write_text(text)
    if os.geteuid() == 0:
        os.chown(home, NOBODY, NOBODY)
        os.chmod(home, 0o755)
    env = {'HOME': str(home), 'PATH': f"{home}/bin:{os.environ['PATH']}", 'LC_ALL': 'C.UTF-8',
           **{k: v for k, v in os.environ.items() if k.endswith('SAN_OPTIONS')}, **(more or {})}
    done = subprocess.run([*how, str(home / 'guide.sh')], cwd=home, env=env, timeout=600,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    said = done.stdout.decode('utf-8', 'replace')
    log = home / 'server.log'
    assert done.returncode == 0, said[-6000:] + '\n--- the broker:\n' + (
        log.read_text()[-3000:] if log.exists() else '')
    return said


@pytest.mark.parametrize('guide', sorted(
    f for f in (os.listdir(GUIDES) if os.path.isdir(GUIDES) else []) if f.endswith('.md')))
def test_guide(guide, tmp_path):
    text = script(guide)
    assert 'nightjar ' in text, 'no commands in it'
    if re.search('^java |[ =]java ', text, re.M) and not shutil.which('javac'):
        pytest.skip('there is no JDK (openjdk-17-jdk-headless)')
    run(text, tmp_path)


DEVICE = '-h localhost -p 8883 --cafile old/ca.crt --cert old/pump.crt --key old/pump.key'
# What the guide finds is Mosquitto's own.
THEIRS = f'''
"$MOSQUITTO" -c old/mosquitto.conf & THEIRS=$!
for i in $(seq 1200); do (exec 3<>/dev/tcp/127.0.0.1/8883) 2>/dev/null && break; sleep 0.1; done
for id in pump-1 pump-2; do nightjar sub {DEVICE} -i $id -c -q 1 -t 'kept/#' -E; done
nightjar pub {DEVICE} -i p -t kept/x -m waiting -q 1 -r
kill $THEIRS
wait $THEIRS || true
test -f old/mosquitto.db
echo 'certificate_clientid any' >>old/mosquitto.conf
'''
NEW = '-h localhost -p 8883 --cafile old/both.crt'
PUMP = f'{NEW} --cert new/devices/pump/client.crt --key new/devices/pump/client.key'
OTHER = f'{NEW} --cert new/devices/other/client.crt --key new/devices/other/client.key'
AFTER = f'''
nightjar ca device other --dir new
for id in pump-1 pump-2; do
  ! nightjar sub {OTHER} -i $id -c -q 1 -t 'kept/#' -E -W 60 || exit 1
  ! nightjar sub {OTHER} -i $id -u pump -c -q 1 -t 'kept/#' -E -W 60 || exit 1
done
nightjar sub {PUMP} -i pump-1 -c -q 1 -t nothing -C 1 -W 60 | grep waiting
nightjar clients disconnect pump-2 --forget -c old/mosquitto.conf
nightjar sub {OTHER} -i pump-2 -c -q 1 -t nothing -E -W 60
nightjar sub {OTHER} -t 'kept/#' -C 1 -W 60 | grep waiting
'''


def test_from_a_mosquitto_that_ran(tmp_path):
    """What it kept goes to who it belongs to, all along the guide."""
    if not MOSQUITTO:
        pytest.skip('no mosquitto')
    text = script('from-mosquitto.md')
    first = text.index('\ncd ..\n') + len('\ncd ..\n')
    said = run(text[:first] + THEIRS + text[first:] + AFTER, tmp_path, {'MOSQUITTO': MOSQUITTO})
    assert re.search(r'^ +2 sessions$', said, re.M) and re.search(r'^ +2 queued messages$', said, re.M), said
