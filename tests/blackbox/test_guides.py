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

from harness import NIGHTJAR, ROOT

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


@pytest.mark.parametrize('guide', sorted(
    f for f in (os.listdir(GUIDES) if os.path.isdir(GUIDES) else []) if f.endswith('.md')))
def test_guide(guide, tmp_path):
    how = network()
    if not how:
        pytest.skip('no network of its own can be made here (unshare, ip, setpriv)')
    text = script(guide)
    assert 'nightjar ' in text, 'no commands in it'
    if re.search('^java |[ =]java ', text, re.M) and not shutil.which('javac'):
        pytest.skip('there is no JDK (openjdk-17-jdk-headless)')
    home = tmp_path / 'home'
    (home / 'bin').mkdir(parents=True)
    (home / 'bin' / 'nightjar').symlink_to(NIGHTJAR)
    (home / 'guide.sh').write_text(text)
    if os.geteuid() == 0:
        os.chown(home, NOBODY, NOBODY)
        os.chmod(home, 0o755)
    env = {'HOME': str(home), 'PATH': f"{home}/bin:{os.environ['PATH']}", 'LC_ALL': 'C.UTF-8',
           **{k: v for k, v in os.environ.items() if k.endswith('SAN_OPTIONS')}}
    done = subprocess.run([*how, str(home / 'guide.sh')], cwd=home, env=env, timeout=600,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    said = done.stdout.decode('utf-8', 'replace')
    log = home / 'server.log'
    assert done.returncode == 0, said[-6000:] + '\n--- the broker:\n' + (
        log.read_text()[-3000:] if log.exists() else '')
