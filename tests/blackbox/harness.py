# SPDX-License-Identifier: Apache-2.0
"""Starts brokers for the black-box tests and looks after them.

The broker under test is $NIGHTJAR, else the one built in $NJ_BUILD (as
./check sets it), else in build-check/ or build/.  With
NIGHTJAR=/usr/sbin/mosquitto the tests run against Mosquitto, which shows
whether a test asks for MQTT or only for our own ways."""
import collections
import contextlib
import errno
import functools
import inspect
import os
import pwd
import random
import re
import signal
import socket
import subprocess
import time
import warnings

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOST = '127.0.0.1'
# Sanitizers slow everything down; nothing here waits this long when all is well.
PATIENCE = 60.0
SANITIZER = re.compile(r'^.*(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|'
                       r'runtime error:|Assertion .* failed).*$', re.M)


def find_nightjar():
    """The path of the binary under test, or None."""
    if os.environ.get('NIGHTJAR'):
        return os.environ['NIGHTJAR']
    builds = [os.environ['NJ_BUILD']] if os.environ.get('NJ_BUILD') else [
        os.path.join(ROOT, 'build-check'), os.path.join(ROOT, 'build')]
    for build in builds:
        path = os.path.join(build, 'src', 'cmd', 'nightjar')
        if os.access(path, os.X_OK):
            return path
    return None


NIGHTJAR = find_nightjar()


def built(*path):
    """What else was compiled beside it."""
    return os.path.join(os.path.dirname(NIGHTJAR), '..', '..', *path)


def debian(name):
    """A file of Debian's mosquitto, installed or unpacked by ./check; None: it is not there."""
    for root in ('', os.path.join(ROOT, 'build-check', 'mosquitto')):
        if os.access(root + name, os.R_OK):
            return root + name
    return None


MOSQUITTO = debian('/usr/sbin/mosquitto')
REFERENCE = NIGHTJAR is not None and os.path.basename(NIGHTJAR) == 'mosquitto'


def preload(days):
    """The environment of a program that believes to live so many days later."""
    return {'LD_PRELOAD': built('tests', 'blackbox', 'libfakeclock.so'),
            'NJ_CLOCK_OFFSET': str(days * 86400),
            'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':verify_asan_link_order=0'}


# Where no outgoing connection's port is taken from.
PORTS = range(10000, 32768)
_random = random.SystemRandom()
_reserved = collections.deque()


def bindable(port):
    """Whether a TCP port is free on IPv4 and IPv6 loopback."""
    for family, host in (socket.AF_INET, HOST), (socket.AF_INET6, '::1'):
        try:
            with socket.socket(family) as s:
                s.bind((host, port))
        except OSError as e:
            if e.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                return False
    return True


def free_port():
    """A TCP port that nobody listens on now, on IPv4 or IPv6 loopback, nor
    will another test process use: the name of a socket reserves it, for as
    long as this process lives or has asked for 256 more."""
    while True:
        port = _random.choice(PORTS)
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f'\0nightjar-test-port-{port}')
        except OSError:
            claim.close()
            continue
        if bindable(port):
            _reserved.append(claim)
            if len(_reserved) > 256:
                _reserved.popleft().close()
            return port
        claim.close()


def knock(port):
    """Whether somebody listens on a port of this machine."""
    try:
        socket.create_connection((HOST, port), 1).close()
        return True
    except OSError:
        return False


def answers(path):
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


def wait_until(condition, what, timeout=PATIENCE):
    """Polls; the value of the condition, or AssertionError naming `what`."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f'{what}: not within {timeout:g} s'
        time.sleep(0.02)


# What a client is given to do, which a busy machine may not let it do.
UNHURRIED = {'handshake_timeout': 120, 'connect_timeout': 120}


def unhurried(conf):
    """The configuration, with time for those that it does not say."""
    if REFERENCE:
        return conf
    if not conf.endswith('\n'):
        conf += '\n'
    return conf + ''.join(f'{k} {v}\n' for k, v in UNHURRIED.items() if k not in conf)


# How much slower a test of times is made when the machine was too busy for it.
PACES = (1, 3, 10)


def paced(test):
    """For a test that has to do something within so many seconds, which a busy
    machine may not let it: it is given pace, by which it multiplies them all,
    and is run again at a slower one when it fails.  A fault fails at each."""
    parameters = inspect.signature(test).parameters.values()

    @functools.wraps(test)
    def at_some_pace(**kw):
        for pace in PACES[:-1]:
            try:
                return test(pace=pace, **kw)
            except Exception as e:  # pylint: disable=broad-except
                warnings.warn(f'not at pace {pace}: {e!r}')
        return test(pace=PACES[-1], **kw)
    at_some_pace.__signature__ = inspect.Signature([p for p in parameters if p.name != 'pace'])
    return at_some_pace


RULES = re.compile(r'^\s*(?:plugin_opt_|auth_opt_)?(?:password_file|acl_file)\s+(/\S+)\s*$', re.M)


def keep_private(conf):
    """Files of users and rules that this configuration names are made as one
    keeps them: for who serves, who reads them again at a reload, alone."""
    if os.geteuid() == 0:
        asked = re.findall(r'^\s*user\s+(\S+)', conf, re.M)
        users = {u.pw_name: u for u in pwd.getpwall()}
        serves = next(users[n] for n in (*asked, 'nightjar', 'mosquitto', 'nobody') if n in users)
    for path in RULES.findall(conf):
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        if os.stat(path).st_mode & 0o004:
            os.chmod(path, 0o600)
            if os.geteuid() == 0:
                os.chown(path, serves.pw_uid, serves.pw_gid)


class Broker:
    """One broker process with its configuration, folder and log."""

    def __init__(self, folder, conf, port, extra_ports=(), args=()):
        self.folder = folder
        self.port = port
        self.ports = [port, *extra_ports]
        self.args = list(args)
        self.log_path = os.path.join(folder, 'broker.log')
        self.conf_path = os.path.join(folder, 'broker.conf')
        self.process = None
        self.write_conf(conf)

    def write_conf(self, conf):
        with open(self.conf_path, 'w', encoding='utf-8') as f:
            f.write(unhurried(conf))
            if REFERENCE and os.geteuid() == 0:
                # It drops root before it reads its keys.
                f.write('user root\n')

    def start(self):
        with open(self.conf_path, encoding='utf-8') as f:
            conf = f.read()
        if 'refuse_exposed_files' not in conf:
            keep_private(conf)
        argv = [NIGHTJAR] + ([] if REFERENCE else ['serve']) + \
            ['-c', self.conf_path] + self.args
        # A helper of the one before may have its ports for a moment: who answers
        # there is not this one.
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not any(map(knock, self.ports)), 'nobody has its ports', 10)
        with open(self.log_path, 'ab') as log:
            # pylint: disable=consider-using-with
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, cwd=self.folder)
        wait_until(self._ready, 'the broker listens')
        return self

    def refuses(self, pattern):
        """Starts it and asserts that it does not serve, and says why.  Its
        first ports may have been open for a moment."""
        with open(self.log_path, 'ab') as log:
            argv = [NIGHTJAR] + ([] if REFERENCE else ['serve']) + ['-c', self.conf_path] + self.args
            status = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    cwd=self.folder, timeout=PATIENCE, check=False).returncode
        assert status > 0, f'ended with {status}'
        assert re.search(pattern, self.log(), re.S), self.log()[-4000:]

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f'the broker ended with {self.process.returncode}:\n'
                                 + self.log()[-4000:])
        return all(map(knock, self.ports))

    @property
    def pid(self):
        return self.process.pid

    def owner(self):
        """The user that it runs as, whose a file must be for a reload."""
        self.wait_log(' running')  # it listens before it is that user
        with open(f'/proc/{self.pid}/status', encoding='ascii') as f:
            return int(re.search(r'Uid:\s+(\d+)', f.read()).group(1))

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self, start=0):
        with open(self.log_path, 'rb') as f:
            f.seek(start)
            return f.read().decode('utf-8', 'replace')

    def log_size(self):
        return os.path.getsize(self.log_path)

    def wait_log(self, pattern, start=0):
        """The first match of a pattern in the log."""
        return wait_until(lambda: re.search(pattern, self.log(start)),
                          f'/{pattern}/ in the log')

    def settled(self, start=0):
        """The knocks that found it ready are gone, and in the log."""
        def gone():
            log = self.log(start)
            return len(self.ports) <= log.count('New connection from') == log.count(' closed: ')
        wait_until(gone, 'the knocks are gone')

    def hup(self):
        self.process.send_signal(signal.SIGHUP)

    def reload(self):
        """Reads its configuration again, and all that it names."""
        start = self.log_size()
        self.hup()
        self.wait_log('Reload' if REFERENCE else r'Reloaded\.', start)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        """Ends it as an operator would; its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGABRT)
                self.process.wait()
        status = self.process.returncode
        self.process = None
        return status

    def faults(self):
        """What a sanitizer or an assertion said."""
        text = self.log()
        m = SANITIZER.search(text)
        return text[m.start():m.start() + 6000] if m else ''

    def rss_kib(self):
        with open(f'/proc/{self.pid}/status', encoding='ascii') as f:
            return int(re.search(r'VmRSS:\s+(\d+)', f.read()).group(1))

    def sanitized(self):
        """Whether memory figures mean nothing (ASan keeps freed memory)."""
        with open(f'/proc/{self.pid}/maps', encoding='ascii') as f:
            return re.search(r'lib[at]san', f.read()) is not None
