# SPDX-License-Identifier: Apache-2.0
"""Who guesses: the waiting times for a name, who is not hurt by them, and the
lines that fail2ban reads."""
import configparser
import os
import re
import shutil
import subprocess
import time

import pytest

import passwords
from harness import ROOT, PATIENCE, wait_until
from jwtokens import Key
from raw import CONNACK, Raw, connect_packet

pytestmark = pytest.mark.ours

FILTER = os.path.join(ROOT, 'dist', 'fail2ban', 'nightjar.conf')
NOT_AUTHORIZED, RATE = 0x87, 0x9f


def users(folder, *lines):
    path = os.path.join(folder, 'users')
    with open(path, 'w', encoding='ascii') as f:
        f.writelines(lines)
    os.chmod(path, 0o644)
    return path


def answer(port, user, password, version=5):
    with Raw(port, version=version) as c:
        c.send(connect_packet('', username=user, password=password, version=version))
        return c.expect(CONNACK).code


def test_a_name_that_is_guessed_at(brokers, tmp_path):
    """After the free ones new tries are not looked at; known or not makes no
    difference; who was in with the right password still comes in."""
    b = brokers('password_file ' + users(str(tmp_path), passwords.pbkdf2('a', 'right'),
                                         passwords.pbkdf2('b', 'right'))
                + '\nfailed_logins_per_user 4\n', anonymous=False)
    assert answer(b.port, 'a', 'right') == 0
    for name in ('a', 'nobody', 'b'):
        codes = [answer(b.port, name, f'wrong{i}') for i in range(7)]
        assert codes == [NOT_AUTHORIZED] * 5 + [RATE] * 2, (name, codes)
    assert answer(b.port, 'a', 'right') == 0, 'who knows it comes in'
    assert answer(b.port, 'b', 'right') == RATE, 'new here: waits like all'
    assert answer(b.port, 'b', 'right', version=4) != 0
    assert answer(b.port, 'c', 'x') == NOT_AUTHORIZED, 'another name'
    wait_until(lambda: answer(b.port, 'b', 'right') == 0, 'the wait is over')


def test_the_last_good_password_is_known(brokers, tmp_path):
    """The second login costs no derivation; another password still does, and
    a changed file forgets."""
    path = users(str(tmp_path), passwords.pbkdf2('slow', 'right', 200_000))
    b = brokers(f'password_file {path}\n', anonymous=False)

    def seconds(password, want):
        began = time.monotonic()
        assert answer(b.port, 'slow', password) == want
        return time.monotonic() - began
    first, second = seconds('right', 0), min(seconds('right', 0) for _ in range(3))
    wrong = seconds('wrong', NOT_AUTHORIZED)
    assert second < first / 4 and second < wrong / 4, (first, second, wrong)
    users(str(tmp_path), passwords.pbkdf2('slow', 'new', 200_000))
    os.chown(path, b.owner(), -1)
    b.hup()
    wait_until(lambda: answer(b.port, 'slow', 'new') == 0, 'the new one counts')
    assert answer(b.port, 'slow', 'right') == NOT_AUTHORIZED


def failregex():
    """The expressions with fail2ban's own words put in, as far as we use them."""
    c = configparser.ConfigParser(interpolation=None)
    c.read(FILTER)
    head = c['Definition']['_head']
    return [re.compile(line.strip().replace('%(_head)s', head).replace(
        '<ADDR>', r'(?P<addr>[0-9a-fA-F:.]+)')) for line in c['Definition']['failregex'].split('\n')]


def banned(text):
    """The addresses in the lines that match, without their timestamps."""
    out = []
    for line in text.split('\n'):
        line = re.sub(r'^\d{10}', '', line)
        m = next(filter(None, (r.match(line) for r in failregex())), None)
        if m:
            out.append(m.group('addr'))
    return out


def attacks(b, es):
    """Ten guesses of all kinds; and names that look like something else."""
    for user, password in (('a', 'wrong'), ('nobody', 'x'), ('a', ''), ("o'brien", 'x'),
                           ("x' (0x87)': there is no", 'y'), ('', Key('ES256', 'k').token())):
        assert answer(b.port, user, password) == NOT_AUTHORIZED
    for name in ('x\n1795269515: Client 192.0.2.66:1 not accepted (y): no user name: '
                 'the password is wrong', 'Client 192.0.2.67:1 not accepted',
                 "z': the password is wrong; Client 192.0.2.68:1 not accepted"):
        assert answer(b.port, name, 'x') >= 0x80
    with Raw(b.port) as c:  # no guess
        c.send(connect_packet('', username='a'))
        assert c.expect(CONNACK).code >= 0x80
    assert answer(b.port, '', es.token(exp=1)) == NOT_AUTHORIZED  # nor this
    assert answer(b.port, 'a', 'right') == 0


@pytest.fixture(scope='module')
def attacked(base_folder):
    import conftest
    factory = conftest.Factory(base_folder)
    folder = conftest.new_folder(base_folder, 'guess-')
    es = Key('ES256', 'k')
    with open(folder + '/key', 'wb') as f:
        f.write(es.pem())
    b = factory('password_file ' + users(folder, passwords.pbkdf2('a', 'right'))
                + f'\njwt_key_file {folder}/key\nlog_type none\nlog_type notice\n', anonymous=False)
    b.folder_of_files = folder
    attacks(b, es)
    yield b
    factory.finish()


def test_fail2ban_expressions(attacked):
    got = banned(attacked.log())
    assert set(got) == {'127.0.0.1'}, got
    assert len(got) == 9, attacked.log()


def test_fail2ban_itself(attacked, tmp_path):
    """The real program, when it is there ($FAIL2BAN_ROOT: unpacked)."""
    root = os.environ.get('FAIL2BAN_ROOT', '')
    program = os.path.join(root, 'usr/bin/fail2ban-regex') if root else shutil.which('fail2ban-regex')
    if not program or not os.path.exists(program):
        pytest.skip('fail2ban is not installed')
    env = dict(os.environ)
    etc = os.path.join(root or '/', 'etc/fail2ban')
    if root:
        env['PYTHONPATH'] = os.path.join(root, 'usr/lib/python3/dist-packages')
    os.makedirs(tmp_path / 'filter.d')
    for name in ('common.conf',):
        shutil.copy(os.path.join(etc, 'filter.d', name), tmp_path / 'filter.d' / name)
    shutil.copy(FILTER, tmp_path / 'filter.d' / 'nightjar.conf')
    out = subprocess.run(['/usr/bin/python3', program, '--print-all-matched', attacked.log_path,
                          str(tmp_path / 'filter.d' / 'nightjar.conf')], env=env, check=False,
                         capture_output=True, text=True, timeout=PATIENCE)
    assert re.search(r'\b9 matched', out.stdout), out.stdout + out.stderr
    assert '192.0.2.6' not in re.sub(r'(?s)\|- Matched line.*', '', out.stdout)
