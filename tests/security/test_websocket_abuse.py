# SPDX-License-Identifier: Apache-2.0
"""Cases 57 to 61 of the threats: HTTP requests and WebSocket frames."""
import contextlib
import socket
import time

import pytest

from attack import MIB, descriptors, own_descriptors, told, unharmed
from harness import HOST, wait_until
from raw import connect_packet
from wsraw import BINARY, CLOSE, CONT, PING, TEXT, RawWs, frame, http, request


@pytest.fixture(params=['sanitized', 'release'], scope='module')
def site(request, base_folder):
    from conftest import Brokers, Quiet, Release
    factory = Brokers(base_folder, Quiet if request.param == 'sanitized' else Release)
    b = factory('protocol websockets\nwebsockets_origin https://good.example\n')
    b.settled()	# the knock is a bad request, too
    yield b
    factory.finish()


def safe(site, **kw):
    return unharmed(site, grows=kw.pop('grows', 3 * MIB), make=RawWs, **kw)


def answer_of(site, text):
    """The status of the answer."""
    return http(site.port, text).status


@pytest.mark.parametrize('origin', ['https://evil.example', 'http://good.example', 'https://good.example.evil',
                                    'https://good.example:8443', 'null', 'https://good.exampl'])
def test_case_57_foreign_origin(site, origin):
    with safe(site):
        begin = site.log_size()
        assert answer_of(site, request(origin=origin)) == 403
        told(site, begin, f'WebSocket upgrade failed: .*Origin {origin} is not allowed', most=1)
        with RawWs(site.port, text=request(origin='https://good.example')) as c:
            c.connect('friend')


BAD_FRAMES = {
    'unmasked': (frame(BINARY, b'\xc0\0', mask=False), 1002, 'not masked'),
    'rsv1': (frame(BINARY, b'\xc0\0', rsv=4), 1002, 'reserved'),
    'rsv2': (frame(BINARY, b'\xc0\0', rsv=2), 1002, 'reserved'),
    'rsv3': (frame(BINARY, b'\xc0\0', rsv=1), 1002, 'reserved'),
    'opcode': (frame(3), 1002, 'does not exist'),
    'control opcode': (frame(11), 1002, 'does not exist'),
    'long ping': (frame(PING, b'x' * 126), 1002, '125'),
    'cut ping': (frame(PING, fin=False), 1002, 'fragmented'),
    '2^63': (frame(BINARY, length=1 << 63), 1002, r'2\^63'),
    '2^63 - 1': (frame(BINARY, length=(1 << 63) - 1), 1009, 'long'),
    'half a gigabyte': (frame(BINARY, length=1 << 29), 1009, 'long'),
    'continuation of nothing': (frame(CONT), 1002, 'continues'),
    'text': (frame(TEXT, b'\xc0\0'), 1003, 'text'),
    'close code': (frame(CLOSE, b'\x03\xed'), 1002, 'code'),
    'close of one byte': (frame(CLOSE, b'\x03'), 1002, ''),
}


def refused(site, data, code, why):
    begin = site.log_size()
    with RawWs(site.port) as c:
        c.connect('bad')
        c.ws.sock.settimeout(20)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            c.ws.sock.sendall(data)
        try:
            assert c.ws.close_code() == code
        except ConnectionError:
            assert len(data) > 1000	# answered by a reset
        with pytest.raises(ConnectionError):
            while True:
                c.ws.frame()
    told(site, begin, 'Client bad disconnected: WebSocket: .*' + why, most=1)


@pytest.mark.parametrize('name', BAD_FRAMES)
def test_case_58_bad_frame(site, name):
    """Close with the code of RFC 6455 7.4.1, then the end."""
    with safe(site):
        refused(site, *BAD_FRAMES[name])


def test_case_58_memory_follows_what_arrived(site):
    """100 clients announce 2.9 MB each and send 100 bytes of it."""
    with safe(site, grows=4 * MIB), contextlib.ExitStack() as open_:
        for i in range(100):
            c = open_.enter_context(RawWs(site.port))
            c.connect(f'announces-{i}')
            c.ws.sock.sendall(frame(BINARY, b'\x30' + b'x' * 99, length=2_900_000))


def test_case_59_empty_continuations(site):
    """A million of them (they are sent until the connection is closed)."""
    with safe(site):
        refused(site, frame(BINARY, fin=False) + 1_000_000 * frame(CONT, fin=False), 1008,
                '(without a byte|flood of frames)')	# too many, or in what is read at once


def test_case_59_interleaving(site):
    with safe(site):
        refused(site, frame(BINARY, b'\x30', fin=False) + frame(BINARY, b'x'), 1002, 'inside')
        refused(site, frame(BINARY, b'\x30', fin=False) + frame(TEXT, b'x'), 1003, 'text')


def test_case_59_control_flood(site):
    with safe(site):
        refused(site, 300_000 * frame(PING), 1008, 'flood')


def test_case_59_message_too_long(site):
    """Fragments that together are more than a message may be."""
    part = b'\x30' + b'x' * 99_999
    with safe(site, grows=6 * MIB):
        begin = site.log_size()
        with RawWs(site.port) as c:
            c.connect('long')
            with contextlib.suppress(ConnectionError):
                c.ws.sock.sendall(frame(BINARY, b'\x30\xff\xff\xff\x7f' + part, fin=False))
                for _ in range(60):
                    c.ws.sock.sendall(frame(CONT, part, fin=False))
            with contextlib.suppress(ConnectionError):
                while True:
                    c.ws.frame()
        told(site, begin, 'Client long disconnected', most=1)


def test_case_60_no_compression(site):
    """Never agreed on, and a frame that claims it is refused."""
    offer = ['Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits']
    with safe(site), RawWs(site.port, text=request(more=offer)) as c:
        assert 'sec-websocket-extensions' not in c.ws.answer.fields
        c.connect('bomb')
        c.ws.sock.sendall(frame(BINARY, b'\x78' * 100, rsv=4))
        assert c.ws.close_code() == 1002


def test_case_60_before_anybody_is_known(site):
    """300 requests that never end cost little."""
    before = own_descriptors(site)
    with safe(site, grows=8 * MIB), contextlib.ExitStack() as open_:
        for _ in range(300):
            s = open_.enter_context(socket.create_connection((HOST, site.port), 10))
            s.sendall(request()[:-2] + b'X: ' + b'y' * 6000)
    with safe(site, grows=6 * MIB), contextlib.ExitStack() as open_:
        for _ in range(100):		# upgraded, and in the middle of a CONNECT
            s = open_.enter_context(socket.create_connection((HOST, site.port), 10))
            s.sendall(request() + frame(BINARY, connect_packet('x')[:9], fin=False))
    wait_until(lambda: descriptors(site.pid) <= before + 2, 'they are gone')
    time.sleep(1.1)	# they have used up their lines of the log


BAD_REQUESTS = {
    'smuggled by chunks': (request(more=['Transfer-Encoding: chunked']) + b'0\r\n\r\nGET / HTTP/1.1\r\n\r\n', 400, 'Transfer-Encoding|body'),
    'smuggled by length': (request(more=['Content-Length: 5']) + b'GET /', 400, 'body'),
    'both': (request(more=['Content-Length: 5', 'Transfer-Encoding: chunked']), 400, 'body'),
    'two hosts': (request(more=['Host: other']), 400, 'twice'),
    'folded': (request(more=['X-A: b', ' folded']), 400, 'folded'),
    'blank before the colon': (request(more=['X-A : b']), 400, 'no header field'),
    'line feeds alone': (b'GET / HTTP/1.1\nHost: x\n\n', 400, 'CRLF'),
    'giant header': (request(more=['X: ' + 'y' * 9000]), 431, 'websockets_headers_size'),
    'a megabyte of headers': (request(more=['X: ' + 'y' * 1_000_000]), 431, 'websockets_headers_size'),
    'many headers': (request(more=['X: y'] * 100), 431, '64'),
    'no subprotocol': (request(protocol=None), 400, 'subprotocol'),
    'another subprotocol': (request(protocol='chat, soap'), 400, 'subprotocol'),
    'POST': (request(first='POST /mqtt HTTP/1.1'), 405, 'GET'),
    'HTTP/1.0': (request(first='GET /mqtt HTTP/1.0'), 505, 'HTTP/1.1'),
    'a page': (b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 426, 'without WebSocket upgrade'),
}


@pytest.mark.parametrize('name', BAD_REQUESTS)
def test_case_61_bad_request(site, name):
    text, status, why = BAD_REQUESTS[name]
    with safe(site):
        begin = site.log_size()
        try:
            assert answer_of(site, text) == status
        except ConnectionError:
            assert len(text) > 100_000	# the answer was overtaken by a reset
        told(site, begin, f'WebSocket upgrade failed: .*({why})', most=1)
