# SPDX-License-Identifier: Apache-2.0
"""nightjar ca device --batch: what it makes of a file, and that kill -9 at any
moment loses no device and makes none twice."""
import json
import os
import random
import subprocess
import time

import pytest

import harness

pytestmark = pytest.mark.ours


def ca(folder, verb, *args, status=0):
    p = subprocess.run([harness.NIGHTJAR, 'ca', verb, '--dir', folder, *args],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                       stderr=subprocess.STDOUT, text=True, start_new_session=True)
    assert p.returncode == status, p.stdout
    return p.stdout


@pytest.fixture
def home(tmp_path):
    folder = str(tmp_path / 'home')
    ca(folder, 'init')
    return folder


def write(path, text):
    with open(path, 'w', encoding='utf-8', newline='') as f:
        f.write(text)
    return str(path)


def listed(home):
    return [e for e in json.loads(ca(home, 'list', '--json')) if e['kind'] == 'device']


def serial(folder):
    p = subprocess.run(['openssl', 'x509', '-in', os.path.join(folder, 'client.crt'), '-noout',
                        '-serial'], stdout=subprocess.PIPE, text=True, check=True)
    return p.stdout.strip().split('=')[1]


def test_file(home, tmp_path):
    csv = write(tmp_path / 'fleet.csv', '\ufeffdays,Name of it,ID,groups,ip\r\n'
                '30,"the first, of all",a1,"x;y",10.0.0.1 fd00::1\r\n'
                '\r\n# no device\r\n,,"a2",,\r\n')
    out = str(tmp_path / 'out')
    said = ca(home, 'device', '--batch', csv, '--out', out, '--group', 'all', '--days', '9')
    assert 'Made 2 certificates' in said
    assert sorted(os.listdir(out)) == ['a1', 'a2']
    assert sorted(os.listdir(os.path.join(out, 'a1'))) == ['ca.crt', 'client.crt', 'client.key']
    a1, a2 = listed(home)
    assert a1['groups'] == ['x', 'y'] and a2['groups'] == ['all']
    # It is noted when they are made, a moment later.
    assert round((a1['not_after'] - a1['issued']) / 86400) == 30
    assert round((a2['not_after'] - a2['issued']) / 86400) == 9
    assert [serial(os.path.join(out, d)) for d in ('a1', 'a2')] == [a1['serial'], a2['serial']]
    text = subprocess.run(['openssl', 'x509', '-in', os.path.join(out, 'a1', 'client.crt'), '-noout',
                           '-text'], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert 'IP Address:10.0.0.1, IP Address:FD00:0:0:0:0:0:0:1' in text
    # The same once more makes nothing.
    assert 'Made 0 certificates' in ca(home, 'device', '--batch', csv, '--out', out)
    assert len(listed(home)) == 2
    # Elsewhere it would make second ones.
    said = ca(home, 'device', '--batch', csv, '--out', str(tmp_path / 'other'), status=1)
    assert 'a1' in said and '--again' in said


@pytest.mark.parametrize('text,want', [
    ('a1\na b\n', ":2: 'a b' cannot be"), ('a1\na2\na1\n', "'a1' is there twice"),
    ('a1,,10.0.0.256\n', ':1: '), ('a1,g/h\n', ":1: 'g/h' cannot be the name of a group"),
    ('a1,,box\n', "'box' is not an address"), ('a1,,,x\n', "'x' is no number of days"),
    ('id;groups\na1;g\n', "separated by ';'"), ('Name,group\na1,g\n', 'called id, groups'),
    ('a1\0', 'UTF-16'), ('id,groups\n', 'has no devices'), ('', 'has no devices'), ('"a1\n', ':1: quotes')])
def test_faults_before_anything_is_made(home, tmp_path, text, want):
    out = str(tmp_path / 'out')
    csv = write(tmp_path / 'fleet.csv', text)
    assert want in ca(home, 'device', '--batch', csv, '--out', out, status=1)
    assert listed(home) == [] and os.listdir(out) == []


def test_words(home, tmp_path):
    csv = write(tmp_path / 'fleet.csv', 'a1\n')
    assert '--out DIR' in ca(home, 'device', '--batch', csv, status=2)
    assert 'into the file' in ca(home, 'device', 'x', '--batch', csv, '--out', 'y', status=2)
    said = ca(home, 'device', '--batch', csv, '--out', str(tmp_path / 'out'), '--for', 'python',
              '--p12', 'modern')
    assert 'client.py' in said
    made = os.listdir(tmp_path / 'out' / 'a1')
    assert 'client.py' in made and 'client.p12' in made and 'client.p12.password' in made


def test_killed(home, tmp_path):
    """A process that is killed at random moments, again and again, until a run
    comes to its end."""
    n = 400
    csv = write(tmp_path / 'fleet.csv', ''.join(f'd{i},g{i % 3}\n' for i in range(n)))
    out = str(tmp_path / 'out')
    argv = [harness.NIGHTJAR, 'ca', 'device', '--dir', home, '--batch', csv, '--out', out]
    rnd = random.Random(7)
    kills = 0
    for _ in range(40):
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True) as p:
            try:
                said = p.communicate(timeout=rnd.uniform(0.05, 0.35))[0]
                assert p.returncode == 0, said
                break
            except subprocess.TimeoutExpired:
                p.kill()
                kills += 1
                p.communicate()
        # What has its name is registered.
        known = {e['serial'] for e in listed(home)}
        names = [d for d in (os.listdir(out) if os.path.isdir(out) else []) if d[0] != '.']
        for name in rnd.sample(names, min(3, len(names))):
            assert serial(os.path.join(out, name)) in known
    else:
        ca(home, 'device', '--batch', csv, '--out', out)
    assert kills >= 2
    assert sorted(os.listdir(out)) == sorted(f'd{i}' for i in range(n))
    entries = listed(home)
    assert sorted(e['id'] for e in entries) == sorted(f'd{i}' for i in range(n))
    assert all(e['groups'] == [f'g{int(e["id"][1:]) % 3}'] for e in entries)
    by_id = {e['id']: e['serial'] for e in entries}
    for i in range(0, n, 35):
        folder = os.path.join(out, f'd{i}')
        assert serial(folder) == by_id[f'd{i}']
        assert sorted(os.listdir(folder)) == ['ca.crt', 'client.crt', 'client.key']


def test_two_at_once(home, tmp_path):
    """Two processes with one file: every device once, whoever makes it."""
    csv = write(tmp_path / 'fleet.csv', ''.join(f'd{i}\n' for i in range(150)))
    out = str(tmp_path / 'out')
    argv = [harness.NIGHTJAR, 'ca', 'device', '--dir', home, '--batch', csv, '--out', out]
    both = [subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [p.communicate()[0] for p in both]
    assert [p.returncode for p in both] == [0, 0], said
    assert sorted(e['id'] for e in listed(home)) == sorted(f'd{i}' for i in range(150))
    # And one device beside a batch elsewhere.
    more = write(tmp_path / 'more.csv', ''.join(f'e{i}\n' for i in range(300)))
    with subprocess.Popen([*argv[:6], more, '--out', str(tmp_path / 'out2')],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as p:
        while p.poll() is None:
            ca(home, 'device', f'single-{time.monotonic_ns()}')
        assert p.returncode == 0
    ids = [e['id'] for e in listed(home)]
    assert len(ids) == len(set(ids)) and len([i for i in ids if i[0] == 'e']) == 300
