# SPDX-License-Identifier: Apache-2.0
"""Case 33 of the threats, and what else is sent to a TLS port: records that no
honest client makes.  tls_attack.c makes them."""
import contextlib
import os
import random
import socket
import subprocess
import time

import pytest

import pahoc
from attack import MIB, descriptors, own_descriptors, told, tool, unharmed
from harness import HOST, PATIENCE, wait_until
from raw import Raw


@pytest.fixture(params=['sanitized', 'release'], scope='module')
def site(request, base_folder, pki):
    from conftest import Brokers, Quiet, Release
    crt, key = pki.server
    factory = Brokers(base_folder, Quiet if request.param == 'sanitized' else Release)
    yield factory(f'certfile {crt}\nkeyfile {key}\n')
    factory.finish()


def attack(b, pki, version, how, count):
    """(records sent, how it ended)"""
    if not os.path.exists(tool('tls_attack')):
        pytest.skip('tls_attack is not built')
    out = subprocess.run([tool('tls_attack'), HOST, str(b.port), pki.ca, version, how, str(count)],
                         capture_output=True, text=True, timeout=PATIENCE, check=True).stdout.split()
    assert out[0] == 'sent'
    return int(out[1]), ' '.join(out[2:])


# Of each the fate, and the reason in the log.
CASES = [
    ('1.3', 'keyupdate', ('eof',), 'more than 32 KeyUpdates or renegotiations'),
    ('1.2', 'renegotiate', ('eof',), 'more than 32 KeyUpdates or renegotiations'),
    ('1.3', 'renegotiate', ('alert 10',), 'does not belong there'),
    ('1.3', 'empty', ('alert 10',), 'record too small'),
    ('1.2', 'empty', ('alert 10',), 'record too small'),
    ('1.3', 'alert', ('alert 10',), 'too many warn alerts'),
    ('1.2', 'alert', ('alert 10',), 'too many warn alerts'),
    ('1.3', 'ccs', ('alert 10',), 'bad record type'),
    ('1.2', 'ccs', ('alert 10',), 'ccs received early'),
    ('1.3', 'huge', ('alert 22',), 'length too long'),
    ('1.2', 'huge', ('alert 20', 'alert 22'), 'bad record mac|too long'),
    ('1.3', 'garbage', ('alert 20',), 'bad record mac'),
    ('1.2', 'garbage', ('alert 20',), 'bad record mac'),
]


@pytest.mark.parametrize('version, how, ends, why', CASES, ids=[f'{v}-{h}' for v, h, _, _ in CASES])
def test_case_33_record_flood(site, pki, version, how, ends, why):
    """100,000 of them: the connection is closed after few."""
    with unharmed(site, grows=3 * MIB, tls=pahoc.tls_context(pki.ca)):
        begin = site.log_size()
        sent, end = attack(site, pki, version, how, 100_000)
        assert sent < 100_000
        # an alert can be lost to the reset that closing with bytes unread is
        assert end in ends + ('eof',), end
        told(site, begin, 'Client attack disconnected: .*(' + why + ')', most=1)


@pytest.mark.parametrize('version', ['1.2', '1.3'])
def test_case_33_the_attacker_is_right_otherwise(site, pki, version):
    """The tool's connections are good as long as it does nothing: else the
    tests above would show nothing."""
    assert attack(site, pki, version, 'none', 0) == (0, 'open')


def test_case_33_few_key_updates_are_fine(site, pki):
    assert attack(site, pki, '1.3', 'keyupdate', 20) == (20, 'open')


def test_garbage_on_the_tls_port(site, pki):
    rng = random.Random(7)
    before = own_descriptors(site)
    with unharmed(site, grows=3 * MIB, tls=pahoc.tls_context(pki.ca)):
        for i in range(300):
            with socket.create_connection((HOST, site.port), 10) as s, contextlib.suppress(OSError):
                head = b'\x16\x03\x01' if i % 2 else b''
                s.sendall(head + rng.randbytes(rng.randrange(1, 600)))
        wait_until(lambda: descriptors(site.pid) <= before + 2, 'only the bystanders are left')
        with Raw(site.port) as c, contextlib.suppress(OSError):
            time.sleep(1.1)	# the noise has used up its lines of the log
            begin = site.log_size()
            c.send(b'\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc')
            told(site, begin, 'plain MQTT on a TLS port', most=5)
