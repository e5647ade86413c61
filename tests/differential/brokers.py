# SPDX-License-Identifier: Apache-2.0
"""The two brokers, as processes."""
import os
import shutil
import subprocess
import tempfile
import time

import harness

OURS = 'listener {port} 127.0.0.1\nallow_anonymous true\nthreads 4\nlog_type none\n'
THEIRS = '''listener {port} 127.0.0.1
allow_anonymous true
persistence false
allow_duplicate_messages true
log_type none
'''


def find_mosquitto():
    """Debian's broker: installed, or unpacked from its package by ./check."""
    for path in (os.environ.get('MOSQUITTO'), '/usr/sbin/mosquitto',
                 os.path.join(harness.ROOT, 'build-check', 'mosquitto', 'usr', 'sbin', 'mosquitto')):
        if path and os.access(path, os.X_OK):
            return path
    return None


class Broker:
    """One process; ends with the context."""

    def __init__(self, argv, conf):
        self.port = harness.free_port()
        self.folder = tempfile.mkdtemp(prefix='nightjar-differential-')
        os.chmod(self.folder, 0o755)
        self.conf = os.path.join(self.folder, 'broker.conf')
        with open(self.conf, 'w', encoding='utf-8') as f:
            f.write(conf.format(port=self.port))
            if os.geteuid() == 0 and 'persistence' in conf:
                f.write('user root\n')
        # pylint: disable=consider-using-with
        self.log = open(os.path.join(self.folder, 'log'), 'wb')
        self.process = subprocess.Popen([*argv, '-c', self.conf], stdout=self.log,
                                        stderr=self.log, stdin=subprocess.DEVNULL)

    def __enter__(self):
        import socket    # pylint: disable=import-outside-toplevel
        end = time.monotonic() + harness.PATIENCE
        while True:
            try:
                socket.create_connection((harness.HOST, self.port), 1).close()
                return self
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end, self.said()
                time.sleep(0.02)

    def said(self):
        with open(self.log.name, encoding='utf-8', errors='replace') as f:
            return f.read()[-3000:]

    def __exit__(self, *exc):
        self.process.terminate()
        try:
            self.process.wait(harness.PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder)


def ours():
    return Broker([harness.NIGHTJAR, 'serve'], OURS)


def theirs():
    return Broker([find_mosquitto()], THEIRS)
