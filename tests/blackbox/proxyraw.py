# SPDX-License-Identifier: Apache-2.0
"""Connections that begin with a PROXY header, as a load balancer makes them."""
import socket
import struct

from harness import HOST, PATIENCE
from raw import Raw

SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'
LOCAL, PROXY = 0x20, 0x21
UNSPEC, TCP4, UDP4, TCP6, STREAM = 0x00, 0x11, 0x12, 0x21, 0x31
# What the client had, of a TLS field.
SSL, CERT_CONN, CERT_SESS = 1, 2, 4


def v1(source='192.0.2.5', port=6275, kind='TCP4', dest='127.0.0.1'):
    return f'PROXY {kind} {source} {dest} {port} 1883\r\n'.encode()


def tlv(kind, value):
    return bytes([kind]) + struct.pack('>H', len(value)) + value


def tls(client=SSL, verify=0, version=b'TLSv1.3', cipher=None, cn=None):
    value = struct.pack('>BI', client, verify)
    value += tlv(0x21, version) if version else b''
    value += tlv(0x23, cipher) if cipher else b''
    value += tlv(0x22, cn) if cn is not None else b''
    return tlv(0x20, value)


def with_cert(cn, verify=0):
    return tls(SSL | CERT_CONN | CERT_SESS, verify, cn=cn)


def ip4(source='192.0.2.5', port=6275, dest='127.0.0.1'):
    return (socket.inet_aton(source) + socket.inet_aton(dest)
            + struct.pack('>HH', port, 1883))


def ip6(source='2001:db8::1', port=6275, dest='::1'):
    return (socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, dest)
            + struct.pack('>HH', port, 1883))


def v2(addresses=None, fields=b'', command=PROXY, family=TCP4):
    body = (ip4() if addresses is None else addresses) + fields
    return SIGNATURE + bytes([command, family]) + struct.pack('>H', len(body)) + body


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def v2_checked(fields=b'', wrong=0):
    head = v2(fields=fields + tlv(3, bytes(4)))
    return head[:-4] + struct.pack('>I', crc32c(head) ^ wrong)


class Proxied(Raw):
    """A Raw whose connection begins with a header.  tls: what the client and
    the broker speak behind it."""

    def __init__(self, port, header, tls=None, version=5, timeout=PATIENCE, path=None,
                 source=None, together=b''):
        # pylint: disable=super-init-not-called
        self.version, self.timeout = version, timeout
        if path:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
        else:
            sock = socket.create_connection((HOST, port), timeout,
                                            (source, 0) if source else None)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(timeout)
        sock.sendall(header + together)
        self.sock = tls.wrap_socket(sock, server_hostname='localhost') if tls else sock
        self.pending = b''
        self.later = []
        self.mid = 0
