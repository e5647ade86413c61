# SPDX-License-Identifier: Apache-2.0
"""The brokers that tests/bench measures: how each is found, told what to do,
started and ended."""
import os
import re
import shutil
import socket
import subprocess
import time

HOST = '127.0.0.1'
PATIENCE = 15.0
INFLIGHT = 1000
KINDS = ('plain', 'tls', 'mtls', 'rsa')
ALL_KINDS = KINDS + ('ws', 'wss')


def free_port():
    with socket.socket() as s:
        s.bind((HOST, 0))
        return s.getsockname()[1]


def configure(folder, root, *more):
    """A release as the quick start builds it, also where folder was one of other
    options, which meson setup would leave as they are."""
    options = ['-Dbuildtype=release', '-Db_lto=true', *more]
    quiet = {'stdout': subprocess.DEVNULL, 'check': True}
    if os.path.exists(os.path.join(folder, 'build.ninja')):
        subprocess.run(['meson', 'configure', folder, *options], **quiet)
    else:
        subprocess.run(['meson', 'setup', folder, root, *options], **quiet)


def rsa_server(authority):
    """Certificate and key of a server with RSA-2048."""
    crt, key, csr = (authority.path('rsa' + ext) for ext in ('.crt', '.key', '.csr'))
    authority.openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048',
                      '-out', key, config=False)
    authority.openssl('req', '-new', '-key', key, '-subj', '/CN=rsa', '-out', csr)
    authority.openssl('ca', '-batch', '-notext', '-in', csr, '-out', crt, '-extensions', 'server')
    return crt, key


class Failed(Exception):
    """A broker that could not be measured, and why."""


class Broker:
    """One kind of broker; start() gives its pid."""
    name = ''
    kinds = KINDS
    given = {}		# paths of those that are not on PATH, by name

    def __init__(self, folder, pki):
        self.folder = folder
        self.pki = pki
        self.ports = {}
        self.store = None
        self.threads = 0
        self.process = None

    @classmethod
    def path(cls):
        return cls.given.get(cls.name) or shutil.which(cls.name) or shutil.which(
            '/usr/sbin/' + cls.name)

    def version(self):
        return '?'

    def conf(self):
        """The text of the configuration file."""
        raise NotImplementedError

    def argv(self, conf):
        raise NotImplementedError

    def certificate(self, kind):
        return self.pki.rsa if kind == 'rsa' else self.pki.server

    def listeners(self, kind):  # pylint: disable=unused-argument
        """What it listens for when that kind is measured."""
        return self.kinds

    def start(self, cores, store=None, threads=0, kind='plain'):
        """cores: a list; store: a folder, to keep what has to be kept; threads:
        how many, where the broker can be told (0: as it likes)."""
        self.store, self.threads = store, threads
        self.ports = {k: free_port() for k in self.listeners(kind)}
        conf = os.path.join(self.folder, self.name + '.conf')
        with open(conf, 'w', encoding='utf-8') as f:
            f.write(self.conf())
        with open(os.path.join(self.folder, self.name + '.log'), 'ab') as log:
            # pylint: disable=consider-using-with
            self.process = subprocess.Popen(
                ['taskset', '-c', ','.join(map(str, cores))] + self.argv(conf), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + PATIENCE
        while not all(map(self.listens, self.ports.values())):
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise Failed(f'{self.name} does not start')
            time.sleep(0.05)
        time.sleep(0.3)
        return self.process.pid

    @staticmethod
    def listens(port):
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            return False
        return True

    def kill(self):
        """kill -9; start() again finds what was kept."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


def output_of(*argv):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       stdin=subprocess.DEVNULL, text=True, check=False)
    return p.stdout


class Mosquitto(Broker):
    name = 'mosquitto'
    kinds = ALL_KINDS
    LISTENERS = {
        'plain': '',
        'tls': 'certfile {crt}\nkeyfile {key}\n',
        'mtls': 'certfile {crt}\nkeyfile {key}\ncafile {ca}\nrequire_certificate true\n',
        'rsa': 'certfile {crt}\nkeyfile {key}\n',
        'ws': 'protocol websockets\n',
        'wss': 'protocol websockets\ncertfile {crt}\nkeyfile {key}\n',
    }
    kept = 'persistence true\npersistence_location {store}/\nautosave_on_changes true\n' \
           'autosave_interval 1\n'

    def version(self):
        return re.search(r'version (\S+)', output_of(self.path(), '-h')).group(1)

    def conf(self):
        # The limits that would drop messages of a closed loop, raised.
        text = (f'max_inflight_messages {INFLIGHT}\nmax_queued_messages 1000000\n'
                'allow_anonymous true\nlog_type error\n')
        if self.store:
            text += self.kept.format(store=self.store)
        for kind, port in self.ports.items():
            crt, key = self.certificate(kind)
            text += f'listener {port} {HOST}\n'
            text += self.LISTENERS[kind].format(crt=crt, key=key, ca=self.pki.ca)
        return text + ('user root\n' if os.geteuid() == 0 else '')

    def argv(self, conf):
        return [self.path(), '-c', conf]


class Nightjar(Mosquitto):
    """Takes Mosquitto's file as it is."""
    name = 'nightjar'
    binary = None
    kept = 'persistence true\npersistence_location {store}/\n'

    @classmethod
    def path(cls):
        return cls.binary

    def version(self):
        return re.search(r'(\d+\.\d+\S*)', output_of(self.binary, '--version')).group(1)

    def conf(self):
        return (f'threads {self.threads}\n' if self.threads else '') + super().conf()

    def argv(self, conf):
        return [self.binary, 'serve', '-c', conf]


class FlashMQ(Broker):
    name = 'flashmq'

    def version(self):
        m = re.search(r'(\d+\.\d+\S*)', output_of(self.path(), '--version'))
        return m.group(1) if m else '?'

    def conf(self):
        text = (f'allow_anonymous true\nthread_count {self.threads or 1}\nlog_level error\n'
                'max_qos_msg_pending_per_client 65535\n'
                'max_qos_bytes_pending_per_client 1000000000\n'
                'client_max_write_buffer_size 16777216\n')
        if self.store:
            text += f'storage_dir {self.store}\n'
        for kind, port in self.ports.items():
            text += f'listen {{\n  protocol mqtt\n  inet4_bind_address {HOST}\n  port {port}\n'
            if kind != 'plain':
                crt, key = self.certificate(kind)
                text += f'  fullchain {crt}\n  privkey {key}\n'
            if kind == 'mtls':
                text += (f'  client_verification_ca_file {self.pki.ca}\n'
                         '  client_verification_still_do_authn false\n')
            text += '}\n'
        return text

    def argv(self, conf):
        return [self.path(), '--config-file', conf]


class NanoMQ(Broker):
    name = 'nanomq'
    kinds = ('plain',)

    def version(self):
        m = re.search(r'(\d+\.\d+\S*)', output_of(self.path(), '--version'))
        return m.group(1) if m else '?'

    def conf(self):
        return (f'mqtt {{ max_inflight_window = {INFLIGHT}\n max_mqueue_len = 65535 }}\n'
                f'listeners.tcp {{ bind = "{HOST}:{self.ports["plain"]}" }}\n'
                'log { to = [console]\n level = fatal }\n')

    def argv(self, conf):
        return [self.path(), 'start', '--conf', conf]


class Nats(Broker):
    name = 'nats-server'

    def listeners(self, kind):
        return (kind,)  # it has one for MQTT

    def version(self):
        return output_of(self.path(), '--version').split()[-1].lstrip('v')

    def conf(self):
        (kind, port), = self.ports.items()
        crt, key = self.certificate(kind)
        tls = '' if kind == 'plain' else f' tls {{\n cert_file: "{crt}"\n key_file: "{key}"\n'
        if kind == 'mtls':
            tls += f' ca_file: "{self.pki.ca}"\n verify: true\n'
        return (f'server_name: bench\nlisten: "{HOST}:-1"\n'
                f'jetstream {{ store_dir: "{self.folder}/jetstream" }}\n'
                f'mqtt {{\n listen: "{HOST}:{port}"\n max_ack_pending: {INFLIGHT}\n'
                + tls + (' }\n' if tls else '') + '}\n')

    def argv(self, conf):
        return [self.path(), '-c', conf]


class Loop(Broker):
    """No broker: OpenSSL and epoll, which answer a CONNECT (tls_loop.c)."""
    name = 'bare OpenSSL loop'
    binary = None

    @classmethod
    def path(cls):
        return cls.binary

    def conf(self):
        return ''

    def argv(self, conf):
        argv = [self.binary]
        for kind, port in self.ports.items():
            more = [] if kind == 'plain' else list(self.certificate(kind))
            if kind == 'mtls':
                more.append(self.pki.ca)
            argv.append(','.join([str(port), *more]))
        return argv


BROKERS = (Nightjar, Mosquitto, FlashMQ, NanoMQ, Nats)
