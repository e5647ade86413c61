# SPDX-License-Identifier: Apache-2.0
"""Who may connect: passwords, anonymous rules, and what a refusal says."""
import os
import socket
import time

import pytest

import pahoc
import passwords
import programs
from harness import REFERENCE, free_port, wait_until
from raw import CONNACK, Raw, connect_packet

BAD_LOGIN, NOT_AUTHORIZED = 0x86, 0x87


def password_file(b_folder, *lines):
    path = os.path.join(b_folder, 'passwords')
    with open(path, 'w', encoding='utf-8') as f:
        f.writelines(lines)
    os.chmod(path, 0o600)
    return path


@pytest.fixture
def guarded(brokers, tmp_path):
    """A broker with one user a kind of hash; the passwords are their names."""
    lines = [passwords.sha512('six', 'six'), passwords.pbkdf2('seven', 'seven'),
             passwords.pbkdf2('longsalt', 'longsalt', 1000, 64),
             passwords.sha512('utf', 'pässwörd'), passwords.sha512('long', 'x' * 1000)]
    if not REFERENCE:
        lines.append(passwords.argon2id('argon', 'argon'))
    return brokers('password_file ' + password_file(str(tmp_path), *lines) + '\n',
                   anonymous=False)


@pytest.mark.parametrize('user, password', [
    ('six', 'six'), ('seven', 'seven'),
    pytest.param('longsalt', 'longsalt', marks=pytest.mark.ours), ('utf', 'pässwörd'),
    pytest.param('long', 'x' * 1000, id='long'), pytest.param('argon', 'argon', marks=pytest.mark.ours)])
def test_right_password(guarded, user, password):
    with Raw(guarded.port) as c:
        c.connect('right', username=user, password=password)
        c.ping()


@pytest.mark.parametrize('user, password', [
    ('six', 'seven'), ('seven', 'six'), ('six', ''), ('six', 'six '), ('SIX', 'six'),
    ('nobody', 'six'), ('', ''), pytest.param('six', 'x' * 60000, id='long'), ('six\u00a0', 'six')])
def test_wrong_password(guarded, user, password):
    """The same answer whether the user exists or not (5.4.2)."""
    codes = {}
    for version, want in ((5, (BAD_LOGIN, NOT_AUTHORIZED)), (4, (4, 5))):
        with Raw(guarded.port, version=version) as c:
            c.send(connect_packet('wrong', version, username=user, password=password))
            codes[version] = c.closed()
            assert codes[version] in want
    with Raw(guarded.port) as c:
        c.send(connect_packet('wrong', username='six', password='wrong'))
        assert c.closed() == codes[5]


def test_user_without_password(guarded):
    """A name alone is no login (RabbitMQ's CVE-2016-9877)."""
    with Raw(guarded.port) as c:
        c.send(connect_packet('bare', username='six'))
        assert c.closed() in (BAD_LOGIN, NOT_AUTHORIZED)


def test_anonymous_is_off_with_a_listener(guarded, brokers):
    with Raw(guarded.port) as c:
        c.send(connect_packet('anon'))
        assert c.closed() == NOT_AUTHORIZED
    with Raw(brokers(anonymous=False).port) as c:
        c.send(connect_packet('anon'))
        assert c.closed() == NOT_AUTHORIZED


def test_anonymous_beside_passwords(brokers, tmp_path):
    """allow_anonymous true lets the nameless in, not the wrongly named."""
    path = password_file(str(tmp_path), passwords.sha512('six', 'six'))
    b = brokers(f'password_file {path}\n')
    with Raw(b.port) as c:
        c.connect('anon')
    with Raw(b.port) as c:
        c.send(connect_packet('named', username='six', password='no'))
        assert c.closed() in (BAD_LOGIN, NOT_AUTHORIZED)


def test_no_listener_is_local_and_anonymous(brokers):
    """Nothing configured: loopback only, and anonymous clients are served."""
    port = free_port()
    b = brokers(listener=False, anonymous=False, args=['-p', str(port)], port=port)
    with Raw(port) as c:
        c.connect('local')
    with open('/proc/net/tcp', encoding='ascii') as f:
        local = [line.split()[1] for line in f if line.split()[3] == '0A']
    assert f'0100007F:{port:04X}' in local and f'00000000:{port:04X}' not in local
    if not REFERENCE:
        b.wait_log('listener')		# it says how to open it


def test_real_clients(guarded):
    port = str(guarded.port)
    p = programs.run(['mosquitto_pub', '-p', port, '-t', 't', '-m', 'x', '-u', 'six', '-P', 'six'])
    assert p.returncode == 0, p.stdout
    p = programs.run(['mosquitto_pub', '-p', port, '-t', 't', '-m', 'x', '-u', 'six', '-P', 'no'])
    assert p.returncode != 0
    with pahoc.Client(guarded.port, 'paho', username='seven', password='seven'):
        pass
    with pytest.raises(pahoc.Refused):
        pahoc.Client(guarded.port, 'paho', username='seven', password='no')


@pytest.mark.ours
def test_refusal_is_logged_without_the_password(guarded):
    start = guarded.log_size()
    with Raw(guarded.port) as c:
        c.send(connect_packet('logged', username='six', password='hunter2-secret'))
        c.closed()
    guarded.wait_log('six', start)
    guarded.wait_log('127.0.0.1', start)
    assert 'hunter2' not in guarded.log(start)


def test_names_in_the_log_are_escaped(guarded):
    """A client cannot write lines or colours into the log."""
    start = guarded.log_size()
    with Raw(guarded.port) as c:
        c.send(connect_packet('id\n1795243695: forged\x1b[31m', username='u\r\nforged too',
                              password='x'))
        c.closed()
    guarded.wait_log('forged too', start)
    text = guarded.log(start)
    assert '\x1b' not in text and '\nforged' not in text and '\n1795243695: forged' not in text


@pytest.mark.ours
def test_no_command_in_the_log_is_a_clients(guarded):
    """What is told to be typed has a client's name only if it is just a name."""
    for name, word in (("x; use $(id)", 'USER'), ("x': y; nightjar z|sh", 'USER'), ('-x', 'USER'),
                       ('meter-7', 'meter-7')):
        start = guarded.log_size()
        with Raw(guarded.port) as c:
            c.send(connect_packet('id', username=name, password='x'))
            c.closed()
        guarded.wait_log(r'no such user; nightjar passwd \S+ ' + word + ', then reload', start)


@pytest.mark.ours
@pytest.mark.parametrize('lines', [
    ['six:plaintext\n'], ['six:$6$onlysalt\n'], ['six:$9$a$b\n'], ['six:\n'],
    ['a:$6$c2FsdA==$eA==\n', 'a:$6$c2FsdA==$eA==\n'],
])
def test_bad_password_file_refuses_the_start(brokers, tmp_path, lines):
    """Never a guess at who may come in (CVE-2018-12551)."""
    brokers('password_file ' + password_file(str(tmp_path), *lines) + '\n',
                anonymous=False, start=False).refuses('passwords')


@pytest.mark.ours
def test_missing_password_file_refuses_the_start(brokers):
    brokers('password_file /nonexistent/passwords\n', anonymous=False, start=False).refuses('/nonexistent/passwords')


@pytest.mark.alone
@pytest.mark.ours
def test_slow_hash_delays_nobody(brokers, tmp_path):
    """Password hashes are for the workers: a ping beside them is quick."""
    path = password_file(str(tmp_path), passwords.pbkdf2('slow', 'slow', 2_000_000))
    b = brokers(f'password_file {path}\n')
    took = []
    with Raw(b.port) as bystander:
        bystander.connect('bystander')
        # Again while the machine is too busy to tell: what delays does so each time.
        while len(took) < 5 and not any(ping < login / 3 for ping, login in took):
            with Raw(b.port) as slow:
                began = time.monotonic()
                slow.send(connect_packet('slow', username='slow', password='no'))
                time.sleep(0.05)
                asked = time.monotonic()
                bystander.ping()
                ping = time.monotonic() - asked
                slow.closed()
                took.append((ping, time.monotonic() - began))
    assert any(ping < login / 3 for ping, login in took), f'(ping, login) in seconds: {took}'


def own_address():
    """An address of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(('192.0.2.1', 9))
            return s.getsockname()[0]
        except OSError:
            return '127.0.0.1'


@pytest.mark.ours
def test_guessing_has_to_wait(brokers, tmp_path):
    """Right passwords too, from that address only, and not for long."""
    address = own_address()
    if address.startswith('127.'):
        pytest.skip('this machine has loopback only')
    path = password_file(str(tmp_path), passwords.pbkdf2('a', 'a'))
    port = free_port()
    b = brokers(f'listener {port} 0.0.0.0\npassword_file {path}\nfailed_logins_per_minute 5\n',
                listener=False, anonymous=False, port=port)

    def login(host, password):
        with Raw(b.port, host=host) as c:
            c.send(connect_packet('guess', username='a', password=password))
            return c.recv().code
    # One of the five comes back every 12 seconds, which a busy machine may take.
    wait_until(lambda: login(address, 'wrong') == 0x9f, 'it has to wait')
    assert login('127.0.0.1', 'a') == 0

    def let_in():
        code = login(address, 'a')
        assert code in (0, 0x9f)
        return code == 0
    wait_until(let_in, 'it may again')


def test_reload_ends_who_would_not_come_in_again(brokers, tmp_path):
    """As with Mosquitto: a user who is gone or has another password, and who is
    anonymous where that is over; nobody else, and no will is sent."""
    same = passwords.pbkdf2('same', 'same')
    path = password_file(str(tmp_path), same, passwords.pbkdf2('gone', 'gone'),
                         passwords.pbkdf2('other', 'other'))
    b = brokers(f'password_file {path}\nallow_anonymous true\n', anonymous=False)
    with open(b.conf_path, encoding='utf-8') as f:
        conf = f.read()
    with Raw(b.port) as gone, Raw(b.port) as other, Raw(b.port) as stays, Raw(b.port) as nobody:
        for name, c in (('gone', gone), ('other', other), ('same', stays)):
            c.connect(name, username=name, password=name, will=('wills', name.encode()))
        nobody.connect('nobody')
        stays.subscribe('#')
        password_file(str(tmp_path), same, passwords.pbkdf2('other', 'new'))
        b.reload()
        assert stays.gather(0) == []
        for c in (gone, other):
            assert c.closed() in (None, 0x87, 0x98)
        nobody.ping()
        b.write_conf(conf.replace('allow_anonymous true', 'allow_anonymous false'))
        b.reload()
        assert nobody.closed() in (None, 0x87, 0x98)
        stays.ping()
    with Raw(b.port) as c:
        c.connect('other', username='other', password='new')


@pytest.mark.ours
def test_reload_counts_for_a_login_under_way(brokers, tmp_path):
    """The derivation takes a while, and the user goes meanwhile."""
    path = password_file(str(tmp_path), passwords.pbkdf2('slow', 'slow', 300000))
    b = brokers(f'password_file {path}\n', anonymous=False)
    with Raw(b.port) as c:
        c.send(connect_packet('c', username='slow', password='slow'))
        b.wait_log('New connection')
        password_file(str(tmp_path), passwords.pbkdf2('other', 'other'))
        b.reload()
        assert c.closed() == NOT_AUTHORIZED


@pytest.mark.ours
def test_prefixes_of_a_reload_count_for_a_login_under_way(brokers, tmp_path):
    """The identifier was looked at before the derivation, and the rule for it is new."""
    path = password_file(str(tmp_path), passwords.pbkdf2('slow', 'slow', 300000))
    b = brokers(f'password_file {path}\n', anonymous=False)
    with open(b.conf_path, encoding='utf-8') as f:
        conf = f.read()
    with Raw(b.port) as c, Raw(b.port) as other:
        c.send(connect_packet('c', username='slow', password='slow'))
        other.send(connect_packet('other', username='slow', password='slow'))
        b.wait_log('(?s)New connection.*New connection')
        b.write_conf(conf + 'clientid_prefixes x o\n')
        b.reload()
        assert c.closed() in (0x85, NOT_AUTHORIZED)
        assert other.expect(CONNACK).code == 0
        other.ping()
