# SPDX-License-Identifier: Apache-2.0
"""The log as an operator chooses it: what begins its lines, what is told of
connections, and what syslog is given."""
import contextlib
import os
import re
import socket
import ssl
import struct
import time

import pytest

import pahoc
import passwords
from harness import HOST, built, free_port, wait_until
from raw import Closed, Raw, connect_packet

pytestmark = pytest.mark.ours

UTC = r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ: '


def come_and_go(b, name='seen'):
    """What is logged of a client, from its coming to its end."""
    start = b.log_size()
    with Raw(b.port) as c:
        c.connect(name)
        c.disconnect()
    b.wait_log(f'{name} disconnected', start)
    return b.log(start)


def all_begin(log, form):
    return all(re.match(form + r'\S', line) for line in log.splitlines())


@pytest.mark.parametrize('lines, form', [
    ('', r'1\d{9,10}: '),
    ('log_timestamp true\n', r'1\d{9,10}: '),
    ('log_timestamp false\n', r'[A-Z]'),
    ('log_timestamp_format %Y-%m-%dT%H:%M:%SZ\n', UTC),
    ('log_timestamp_format at %H %% o\'clock\n', r"at \d\d % o'clock: "),
    ('log_timestamp_format ' + 30 * '%Y-%m-%d ' + '\n', r'1\d{9,10}: '),	# longer than a line gives it
    ('log_timestamp false\nlog_timestamp_format %Y\n', r'[A-Z]'),
])
def test_timestamps(brokers, monkeypatch, lines, form):
    monkeypatch.setenv('TZ', 'UTC')
    b = brokers(lines)
    b.wait_log(' running')	# which begins with its name
    b.settled()
    log = come_and_go(b)
    assert all_begin(log, form), log


def test_the_time_is_the_time(brokers, monkeypatch):
    monkeypatch.setenv('TZ', 'XYZ-5')	# east of Greenwich by five hours
    b = brokers('log_timestamp_format %s %H %z\n')
    b.wait_log(' running')
    b.settled()
    before = int(time.time())
    log = come_and_go(b)
    for line in log.splitlines():
        seconds, hour, zone = re.match(r'(\d+) (\d\d) (\+\d{4}): ', line).groups()
        assert before <= int(seconds) <= time.time() and zone == '+0500'
        assert int(hour) == (int(seconds) // 3600 + 5) % 24


def test_timestamps_after_a_reload(brokers, monkeypatch):
    monkeypatch.setenv('TZ', 'UTC')
    b = brokers()
    with open(b.conf_path, encoding='utf-8') as f:
        text = f.read()
    for lines, form in (('log_timestamp false\n', '[A-Z]'),
                        ('log_timestamp_format %Y-%m-%dT%H:%M:%SZ\n', UTC), ('', r'1\d{9,10}: ')):
        b.write_conf(text + lines)
        b.reload()
        log = come_and_go(b)
        assert all_begin(log, form), log


def test_connection_messages(brokers, pki, tmp_path):
    """Without them nothing is told of who comes and goes, but of each who is refused; a reload
    brings them back."""
    path = tmp_path / 'passwords'
    path.write_text(passwords.pbkdf2('u', 'right'))
    tls, proxy = free_port(), free_port()
    b = brokers(f'connection_messages false\npassword_file {path}\n'
                f'listener {tls} {HOST}\ncertfile {pki.server[0]}\nkeyfile {pki.server[1]}\ncafile {pki.ca}\n'
                f'require_certificate true\nlistener {proxy} {HOST}\nenable_proxy_protocol 2\n',
                extra_ports=[tls, proxy], anonymous=False)
    with open(b.conf_path, encoding='utf-8') as f:
        text = f.read()
    for told in (False, True):
        start = b.log_size()
        with Raw(b.port) as c:
            c.connect('comes', username='u', password='right')
            c.disconnect()
        with Raw(b.port) as c:
            c.vanish()
        with Raw(proxy) as c:
            c.send(b'\r\n\r\n\0')
            c.vanish()
        with socket.create_connection((HOST, tls)) as s:
            s.shutdown(socket.SHUT_WR)
            s.recv(1)
        for port in b.port, tls, proxy:
            with socket.create_connection((HOST, port)) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))	# a reset
        with Raw(b.port) as c:
            c.connect('guesses', want=0x87, username='u', password='wrong')
        for port, sent in ((b.port, b'GET / HTTP/1.1\r\n\r\n'), (proxy, b'no header of a proxy, and no other'),
                           (tls, connect_packet('plain'))):
            with socket.create_connection((HOST, port)) as s:
                s.sendall(sent)
                s.recv(1)
        with contextlib.suppress(ssl.SSLError, ConnectionError, Closed), \
                Raw(tls, tls=pahoc.tls_context(pki.ca, *pki.expired)) as c:
            c.connect('expired')
        for what in ('the password is wrong', 'closed: HTTP or WebSocket to an MQTT port', 'closed: bad PROXY header',
                     'closed: TLS handshake failed: plain MQTT', 'closed: TLS handshake failed: .*expired'):
            b.wait_log(what, start)
        for what in ('New connection from', 'New client connected from .* as comes', 'comes disconnected',
                     'closed: closed its connection', 'closed before its PROXY header', 'before it had said a whole',
                     'closed: receiving: .*reset', 'handshake failed: receiving: .*reset'):
            if told:
                b.wait_log(what, start)
            else:
                assert not re.search(what, b.log(start)), (what, b.log(start))
        b.write_conf(text.replace('connection_messages false\n', 'connection_messages true\n'))
        b.reload()


@pytest.mark.parametrize('line, facility', [('', 3), ('log_facility 0\n', 16), ('log_facility 5\n', 21),
                                            ('log_facility 7\n', 23)])
def test_syslog(brokers, monkeypatch, tmp_path, line, facility):
    """Each line goes there once, under the facility of the file and a level of its own,
    and without the time, which syslog knows."""
    told = tmp_path / 'told'
    told.touch()
    told.chmod(0o666)
    monkeypatch.setenv('LD_PRELOAD', built('tests', 'blackbox', 'libsyslogged.so'))
    monkeypatch.setenv('NJ_SYSLOG', str(told))
    monkeypatch.setenv('ASAN_OPTIONS', os.environ.get('ASAN_OPTIONS', '') + ':verify_asan_link_order=0')
    b = brokers(f'log_dest syslog\nretry_interval 1\n{line}')
    b.hup()
    wait_until(lambda: 'Reloaded.' in told.read_text(), 'syslog is told of the reload')
    with Raw(b.port) as c:
        c.connect('told')
        c.disconnect()
    wait_until(lambda: 'told disconnected' in told.read_text(), 'syslog is told of it')
    b.stop()
    lines = told.read_text().splitlines()
    assert lines and all(x.startswith(f'{facility} ') for x in lines), lines
    assert not any(re.match(r'\d+ \d 1\d{9}', x) for x in lines)
    levels = {level: [x for x in lines if re.search(what, x)]
              for level, what in ((4, 'warning: retry_interval'), (5, 'as told '), (7, 'Sending CONNACK to told'))}
    for level, found in levels.items():
        assert len(found) == 1 and found[0].startswith(f'{facility} {level} '), (level, found)
    assert 'as told' not in b.log()
