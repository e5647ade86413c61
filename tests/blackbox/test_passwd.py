# SPDX-License-Identifier: Apache-2.0
"""nightjar passwd: what it writes, judged by hashlib; how it writes it."""
import base64
import hashlib
import os
import pty
import shutil
import stat
import subprocess
import time

import pytest

import harness
import passwords

pytestmark = pytest.mark.ours


def passwd(*args, status=0, typed=None):
    """(standard output, standard error)."""
    p = subprocess.run([harness.NIGHTJAR, 'passwd', *map(str, args)], text=True, check=False,
                       input=typed or '', capture_output=True, start_new_session=True,
                       timeout=harness.PATIENCE)
    assert p.returncode == status, p.stdout + p.stderr
    return p.stdout, p.stderr


def is_right(line, password):
    """Whether a $6$ or $7$ line is of this password."""
    _, scheme, *parts = line.strip().split('$')
    if scheme == '6':
        salt, want = map(base64.b64decode, parts)
        return hashlib.sha512(password.encode() + salt).digest() == want
    salt, want = map(base64.b64decode, parts[1:])
    return hashlib.pbkdf2_hmac('sha512', password.encode(), salt, int(parts[0])) == want


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'passwd'


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_new_file(file):
    passwd('-c', '-b', file, 'alice', 'secret')
    assert mode(file) == 0o600
    assert file.read_text().startswith('alice:$argon2id$v=19$m=47104,t=1,p=1$')


def test_long_flags(file):
    """Are the short ones."""
    passwd('--create', '--batch', '--hash', 'sha512', file, 'a', 'x')
    assert file.read_text().startswith('a:$6$') and is_right(file.read_text(), 'x')
    passwd('--batch', '--hash=sha512-pbkdf2', '--iterations', '101', file, 'b', 'y')
    first, second = file.read_text().splitlines()
    assert first.startswith('a:$6$') and second.startswith('b:$7$101$') and is_right(second, 'y')
    passwd('--delete', file, 'a')
    assert file.read_text().splitlines() == [second]
    passwd('--create', '--batch', '--hash', 'scram-sha-256', file, 'c', 'z')	# in place of the old file
    assert [x.split('$')[0] for x in file.read_text().splitlines() if x[0] != '#'] == ['c:SCRAM-SHA-256']
    file.write_text('d:plain\n')
    passwd('--update', '--hash', 'sha512', file)
    assert file.read_text().startswith('d:$6$') and is_right(file.read_text(), 'plain')


@pytest.mark.parametrize('flags, begin', [
    (['-H', 'sha512'], 'bob:$6$'),
    (['-H', 'sha512-pbkdf2', '-I', '101'], 'bob:$7$101$'),
    (['-H', 'sha512-pbkdf2'], 'bob:$7$210000$'),
])
def test_kinds(file, flags, begin):
    passwd(*flags, '-c', '-b', file, 'bob', 'p\u00e4ss word')
    line = file.read_text()
    assert line.startswith(begin)
    assert is_right(line, 'p\u00e4ss word')


def test_other_lines_stay(file):
    before = '# users\r\n' + passwords.sha512('a', 'x') + 'no colon\n'
    file.write_bytes((before + passwords.sha512('b', 'y') + passwords.pbkdf2('c', 'z')).encode())
    file.chmod(0o640)
    passwd('-H', 'sha512', '-b', file, 'b', 'new')
    after = file.read_bytes().decode()
    assert after.startswith(before)
    assert mode(file) == 0o640
    lines = after[len(before):].splitlines()
    assert [line.split(':')[0] for line in lines] == ['b', 'c']
    assert is_right(lines[0], 'new') and is_right(lines[1], 'z')


@pytest.mark.parametrize('how', [('-H', 'argon2id'), ('-H', 'sha512-pbkdf2', '-I', '500'), ('-H', 'sha512'),
                                 ('-H', 'scram-sha-256')])
def test_the_same_password_keeps_its_line(file, how):
    """So that the next reload throws nobody out; another way of keeping it does not."""
    passwd(*how, '-c', '-b', file, 'a', 'x')
    passwd(*how, '-b', file, 'b', 'y')
    before = file.read_text()
    passwd(*how, '-b', file, 'a', 'x')
    assert file.read_text() == before
    for other in (*how, '-b', file, 'a', 'z'), ('-H', 'sha512-pbkdf2', '-I', '700', '-b', file, 'a', 'z'), \
            ('-H', 'sha512-pbkdf2', '-I', '701', '-b', file, 'a', 'z'):
        was = file.read_text()
        passwd(*other)
        assert file.read_text() != was
        assert file.read_text().splitlines()[-1] == before.splitlines()[-1]


def test_added_behind_an_unfinished_line(file):
    file.write_text(passwords.sha512('a', 'x').rstrip('\n'))
    passwd('-H', 'sha512', '-b', file, 'b', 'y')
    assert [line.split(':')[0] for line in file.read_text().splitlines()] == ['a', 'b']


def test_delete(file):
    file.write_text(passwords.sha512('a', 'x') + passwords.sha512('ab', 'y'))
    passwd('-D', file, 'a')
    assert file.read_text().startswith('ab:')
    assert 'no user a' in passwd('-D', file, 'a', status=1)[1]


def test_update_hashes_plain_lines_only(file):
    hashed = passwords.pbkdf2('old', 'o')
    file.write_text('a:plain\r\n' + hashed + '# c:d\nb:with:colon\n')
    passwd('-H', 'sha512', '-U', file)
    lines = file.read_text().splitlines(keepends=True)
    assert is_right(lines[0], 'plain')
    assert lines[1:3] == [hashed, '# c:d\n']
    assert is_right(lines[3], 'with:colon')


def test_standard_output():
    out, _ = passwd('-H', 'sha512', '-c', '-b', '-', 'u', 'pw')
    assert out.startswith('u:$6$') and is_right(out, 'pw')


def test_password_may_begin_with_a_dash(file):
    passwd('-H', 'sha512', '-c', '-b', file, 'u', '-D')
    assert is_right(file.read_text(), '-D')


def test_from_standard_input(file):
    passwd('-H', 'sha512', '-c', file, 'u', typed='one line\n')
    assert is_right(file.read_text(), 'one line')
    passwd(file, 'u', typed='a\nb\n', status=1)
    passwd(file, 'u', typed='', status=1)
    passwd(file, 'u', typed='\n', status=1)
    assert is_right(file.read_text(), 'one line')


def test_asks_twice_without_echo(file):
    pid, tty = pty.fork()
    if pid == 0:
        os.execv(harness.NIGHTJAR, ['nightjar', 'passwd', '-H', 'sha512', '-c', str(file), 'u'])
    seen = b''
    for prompt in (b'Password: ', b'Reenter password: '):
        while not seen.endswith(prompt):
            seen += os.read(tty, 1000)
        time.sleep(0.1)
        os.write(tty, b'hidden\n')
    status = os.waitpid(pid, 0)[1]
    try:
        seen += os.read(tty, 1000)
    except OSError:  # what Linux says when the other side is closed
        pass
    os.close(tty)
    assert os.waitstatus_to_exitcode(status) == 0
    assert b'hidden' not in seen
    assert is_right(file.read_text(), 'hidden')


def test_a_link_stays_a_link(file, tmp_path):
    passwd('-H', 'sha512', '-c', '-b', file, 'u', 'x')
    link = tmp_path / 'link'
    link.symlink_to('passwd')
    passwd('-H', 'sha512', '-b', link, 'v', 'y')
    assert link.is_symlink()
    assert len(file.read_text().splitlines()) == 2


@pytest.mark.parametrize('args', [
    ['FILE'], ['FILE', 'u', 'extra'], ['-b', 'FILE', 'u'], ['-c', '-D', 'FILE', 'u'],
    ['-U', 'FILE', 'u'], ['-H', 'md5', '-b', 'FILE', 'u', 'p'], ['-b', '-', 'u', 'p'],
    ['-H', 'sha512', '-I', '5', '-b', 'FILE', 'u', 'p'], ['--nonsense', 'FILE', 'u'],
    ['--create', '--delete', 'FILE', 'u'], ['--hash', 'md5', '-b', 'FILE', 'u', 'p'], ['--hash'],
    ['-H', 'sha512-pbkdf2', '-I', '2000001', '-b', 'FILE', 'u', 'p'],
    ['-b', 'FILE', 'a:b', 'p'], ['-b', 'FILE', '#u', 'p'], ['-b', 'FILE', '', 'p'],
    ['-b', 'FILE', ' u', 'p'], ['-b', 'FILE', 'u\n', 'p'],
])
def test_wrong_calls(file, args):
    file.write_text('')
    _, err = passwd(*[file if a == 'FILE' else a for a in args], status=2)
    assert err.startswith('nightjar: ')
    assert file.read_text() == ''


def test_failures(file):
    assert 'passwd -c' in passwd('-b', file, 'u', 'p', status=1)[1]
    file.write_text('')
    assert 'empty' in passwd('-b', file, 'u', '', status=1)[1]
    assert file.read_text() == ''


def test_warns_of_what_the_broker_will_refuse(file):
    file.write_text('a:plain\n')
    _, err = passwd('-H', 'sha512', '-b', file, 'u', 'p')
    assert 'line 1' in err and 'plain' not in err.replace('plaintext', '')


@pytest.mark.parametrize('words, typed, status', (
    ([], '', 1), (['-H', 'nohash', 'f', 'u'], '', 1), (['-c', '-D', 'f', 'u'], '', 1), (['-c', 'f'], '', 1),
    (['-D', 'f', 'nobody'], '', 1), (['-c', 'f', 'u:v'], '', 1),
    (['-c', 'f', 'u'], 'one\nother\n', 2), (['-c', 'f', 'u'], '\n', 1), (['-c', 'f', 'u'], 'one\none\n', 0)))
def test_ends_as_mosquitto_passwd_does(tmp_path, words, typed, status):
    link = tmp_path / 'mosquitto_passwd'
    link.symlink_to(harness.NIGHTJAR)
    ours = subprocess.run([link, *words], input=typed, cwd=tmp_path, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert ours.returncode == status, ours.stderr
    theirs = shutil.which('mosquitto_passwd')
    if theirs:
        p = subprocess.run([theirs, *words], input=typed, cwd=tmp_path, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, text=True, check=False, timeout=60)
        assert p.returncode == status, p.stderr
