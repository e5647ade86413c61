# SPDX-License-Identifier: Apache-2.0
"""A SOCKS5 proxy (RFC 1928, 1929) for tests, with its memory of what it was
asked for."""
import contextlib
import socket
import socketserver
import struct
import threading

from harness import HOST, PATIENCE


class Proxy(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def __init__(self, users=None, reply=0, names=None):
        """users: {name: password}, None: no login; reply: the answer to
        CONNECT; names: {name: address}, for what only the proxy knows."""
        super().__init__((HOST, 0), Handler)
        self.users, self.reply, self.names = users, reply, names or {}
        self.port = self.server_address[1]
        self.asked, self.logins = [], []
        threading.Thread(target=self.serve_forever, kwargs={'poll_interval': 0.05},
                         daemon=True).start()

    def __exit__(self, *exc):
        self.shutdown()
        super().__exit__(*exc)


class Handler(socketserver.BaseRequestHandler):
    def exactly(self, n):
        out = b''
        while len(out) < n:
            more = self.request.recv(n - len(out))
            assert more, 'the client has gone'
            out += more
        return out

    def handle(self):
        self.request.settimeout(PATIENCE)
        with contextlib.suppress(OSError, AssertionError):
            if self.greeted():
                self.connect()

    def greeted(self):
        version, n = self.exactly(2)
        assert version == 5
        want = 0 if self.server.users is None else 2
        if want not in self.exactly(n):
            self.request.sendall(b'\x05\xff')
            return False
        self.request.sendall(bytes([5, want]))
        return want == 0 or self.logged_in()

    def logged_in(self):
        assert self.exactly(1) == b'\x01'
        user = self.exactly(self.exactly(1)[0]).decode()
        password = self.exactly(self.exactly(1)[0]).decode()
        self.server.logins.append((user, password))
        good = self.server.users.get(user) == password
        self.request.sendall(b'\x01\x00' if good else b'\x01\x01')
        return good

    def connect(self):
        assert self.exactly(3) == b'\x05\x01\x00'
        kind = self.exactly(1)[0]
        if kind == 3:
            host = self.exactly(self.exactly(1)[0]).decode()
        else:
            host = socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6,
                                    self.exactly(4 if kind == 1 else 16))
        port = struct.unpack('>H', self.exactly(2))[0]
        self.server.asked.append((kind, host, port))
        head = bytes([5, self.server.reply, 0])
        if self.server.reply:
            self.request.sendall(head + b'\x01' + bytes(6))
            return
        with socket.create_connection((self.server.names.get(host, host), port), PATIENCE) as up:
            # An answer that names a host: it must be passed over whole.
            self.request.sendall(head + b'\x03\x04here' + b'\x00\x07')
            other = threading.Thread(target=self.pump, args=(up, self.request), daemon=True)
            other.start()
            self.pump(self.request, up)
            other.join(PATIENCE)

    @staticmethod
    def pump(source, to):
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(65536)
                if not data:
                    break
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
