# SPDX-License-Identifier: Apache-2.0
"""Enhanced authentication (MQTT 5.0 3.15, 4.12) in raw bytes, with
SCRAM-SHA-256 as its method, and re-authentication."""
import contextlib
import os
import re
import socket
import statistics
import subprocess
import time

import pytest

import passwords
import programs
import scram
from harness import NIGHTJAR, PATIENCE, free_port, paced
from raw import (AUTH, CONNACK, DISCONNECT, PINGREQ, PUBACK, PUBLISH, SUBSCRIBE, Closed, Raw,
                 connect_packet, packet, properties, string)
from scram import METHOD

SUCCESS, CONTINUE, REAUTHENTICATE = 0x00, 0x18, 0x19
MALFORMED, PROTOCOL_ERROR, CLIENT_ID_NOT_VALID = 0x81, 0x82, 0x85
NOT_AUTHORIZED, BAD_METHOD, TOO_LARGE, QUOTA = 0x87, 0x8c, 0x95, 0x97

pytestmark = pytest.mark.ours		# Mosquitto 2.0 knows no method


@pytest.fixture
def users(tmp_path):
    path = os.path.join(str(tmp_path), 'users')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(scram.SECRET + scram.verifier('anna', 'pencil') + scram.verifier('bert', 'paper')
                + scram.verifier('a,b=c', 'odd') + passwords.pbkdf2('old', 'old'))
    os.chmod(path, 0o600)
    return path


@pytest.fixture
def broker(brokers, users):
    return brokers(f'password_file {users}\n', anonymous=False)


def auth_packet(code, method=METHOD, data=None, **props):
    if method is not None:
        props['auth_method'] = method
    if data is not None:
        props['auth_data'] = data
    return packet(AUTH, 0, bytes([code]) + properties(props))


def begin(c, user='anna', password='pencil', client_id='', **kw):
    """CONNECT and the server's challenge."""
    x = scram.Client(user, password)
    props = {'auth_method': METHOD, 'auth_data': x.first(), **kw.pop('props', {})}
    c.send(connect_packet(client_id, props=props, password=kw.pop('sent', None), **kw))
    ask = c.expect(AUTH)
    assert ask.code == CONTINUE and ask.props['auth_method'] == METHOD
    assert set(ask.props) == {'auth_method', 'auth_data'}
    return x, ask.props['auth_data']


def login(c, user='anna', password='pencil', client_id='', **kw):
    x, challenge = begin(c, user, password, client_id, **kw)
    c.send(auth_packet(CONTINUE, data=x.final(challenge)))
    ack = c.expect(CONNACK)
    assert ack.code == SUCCESS and ack.props['auth_method'] == METHOD
    x.verify(ack.props['auth_data'])
    return ack


def reauth(c, user='anna', password='pencil'):
    """As far as the server's answer to the proof."""
    x = scram.Client(user, password)
    c.send(auth_packet(REAUTHENTICATE, data=x.first()))
    ask = c.wait_for(AUTH)
    assert ask.code == CONTINUE and ask.props['auth_method'] == METHOD
    c.send(auth_packet(CONTINUE, data=x.final(ask.props['auth_data'])))
    return x


def refusal(c):
    """The CONNACK that says no, and that the connection was closed."""
    ack = c.expect(CONNACK)
    assert ack.code >= 0x80
    with pytest.raises(Closed):
        c.recv()
    return ack


def farewell(c):
    """The same for DISCONNECT."""
    end = c.wait_for(DISCONNECT)
    with pytest.raises(Closed):
        c.recv()
    return end


# The exchange in front of CONNACK.

def test_login(broker):
    """[MQTT-4.12.0-2], [MQTT-4.12.0-3], [MQTT-4.12.0-5], [MQTT-3.15.2-1]."""
    with Raw(broker.port) as c:
        ack = login(c, client_id='phone')
        assert not ack.session_present
        assert c.subscribe('t', qos=1) == [1]
        assert c.publish_acked('t', 'x') < 0x80
        assert c.message().payload == b'x'
        c.ping()


def test_login_byte_by_byte(broker):
    with Raw(broker.port) as c:
        x = scram.Client('anna', 'pencil')
        for b in connect_packet('slow', props={'auth_method': METHOD, 'auth_data': x.first()}):
            c.send(bytes([b]))
        ask = c.expect(AUTH)
        for b in auth_packet(CONTINUE, data=x.final(ask.props['auth_data'])):
            c.send(bytes([b]))
        x.verify(c.expect(CONNACK).props['auth_data'])
        c.ping()


def test_name_with_escapes(broker):
    with Raw(broker.port) as c:
        login(c, 'a,b=c', 'odd')


def test_client_first_may_come_later(broker):
    """Without Authentication Data in CONNECT the server asks for it."""
    with Raw(broker.port) as c:
        c.send(connect_packet('late', props={'auth_method': METHOD}))
        ask = c.expect(AUTH)
        assert ask.code == CONTINUE and 'auth_data' not in ask.props
        x = scram.Client('anna', 'pencil')
        c.send(auth_packet(CONTINUE, data=x.first()))
        challenge = c.expect(AUTH).props['auth_data']
        c.send(auth_packet(CONTINUE, data=x.final(challenge)))
        ack = c.expect(CONNACK)
        assert ack.code == SUCCESS
        x.verify(ack.props['auth_data'])


def test_session_will_and_server_keep_alive(broker):
    """What CONNECT asked for holds although it is answered late."""
    with Raw(broker.port) as c:
        login(c, client_id='kept', clean=False, props={'session_expiry': 100})
        c.subscribe('kept/#', qos=1)
    with Raw(broker.port) as d:
        login(d, 'bert', 'paper', client_id='willing', will=('kept/will', b'gone', 1))
        d.send(packet(DISCONNECT, 0, b'\x04'))
        d.closed()
    with Raw(broker.port) as c:
        ack = login(c, client_id='kept', clean=False, props={'session_expiry': 100})
        assert ack.session_present
        assert c.message().payload == b'gone'


def test_username_in_connect(broker):
    """Allowed, when it says the same; a password there is not looked at."""
    with Raw(broker.port) as c:
        login(c, username='anna')
    with Raw(broker.port) as c:
        login(c, username='anna', sent='whatever')
    with Raw(broker.port) as c:
        x = scram.Client('anna', 'pencil')
        c.send(connect_packet('', username='bert', props={'auth_method': METHOD, 'auth_data': x.first()}))
        assert refusal(c).code == NOT_AUTHORIZED


def test_another_users_session(broker):
    """SECURITY 43: a client identifier belongs to who made its session."""
    with Raw(broker.port) as c:
        login(c, client_id='annas')
        with Raw(broker.port) as d:
            x, challenge = begin(d, 'bert', 'paper', client_id='annas')
            d.send(auth_packet(CONTINUE, data=x.final(challenge)))
            assert refusal(d).code == CLIENT_ID_NOT_VALID
        c.ping()


@pytest.mark.parametrize('method', ['SCRAM-SHA-1', 'scram-sha-256', 'SCRAM-SHA-256-PLUS', 'GS2-KRB5',
                                    'PLAIN', '', 'SCRAM-SHA-256\x20', 'x' * 60000])
def test_unknown_method(broker, method):
    """[MQTT-4.12.0-1]."""
    with Raw(broker.port) as c:
        c.send(connect_packet('', props={'auth_method': method, 'auth_data': b'n,,n=anna,r=abc'}))
        ack = refusal(c)
        assert ack.code == BAD_METHOD
        assert METHOD in ack.props['reason_string']


def test_no_method_anywhere(brokers, tmp_path):
    path = os.path.join(str(tmp_path), 'plain')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(passwords.pbkdf2('old', 'old'))
    for b in (brokers(), brokers(f'password_file {path}\n', anonymous=False),
              brokers(f'password_file {path}\nauth_methods password\n', anonymous=False)):
        with Raw(b.port) as c:
            c.send(connect_packet('', props={'auth_method': METHOD, 'auth_data': b'n,,n=old,r=abc'}))
            assert refusal(c).code == BAD_METHOD


def test_wrong_password(broker):
    """[MQTT-4.12.0-4]; nothing is said about why."""
    with Raw(broker.port) as c:
        x, challenge = begin(c, password='pencils')
        c.send(auth_packet(CONTINUE, data=x.final(challenge)))
        ack = refusal(c)
        assert ack.code == NOT_AUTHORIZED and not ack.props


def answers(broker, user, password):
    """All that one login gets back, with what is random taken out."""
    with Raw(broker.port) as c:
        x, challenge = begin(c, user, password, client_id='same')
        c.send(auth_packet(CONTINUE, data=x.final(challenge)))
        ack = refusal(c)
        fields = x.challenge
        assert len(fields['r']) == len(x.nonce) + 24
        return (sorted(fields), fields['i'], len(challenge), len(fields['s'])), ack.body


def test_strangers_are_not_to_be_told_from_users(broker):
    """The same codes and bytes, and a salt that is always the same: SECURITY 48."""
    known = answers(broker, 'anna', 'wrong')
    assert known == answers(broker, 'nobody', 'wrong')
    assert known == answers(broker, 'old', 'old')		# no verifier
    assert known == answers(broker, 'x' * 200, 'wrong')
    salts = set()
    for _ in range(3):
        with Raw(broker.port) as c:
            salts.add(re.search(rb',s=([^,]+)', begin(c, 'nobody')[1]).group(1))
        broker.reload()
    broker.stop()
    broker.start()
    with Raw(broker.port) as c:
        salts.add(re.search(rb',s=([^,]+)', begin(c, 'nobody')[1]).group(1))
    with Raw(broker.port) as c:
        other = re.search(rb',s=([^,]+)', begin(c, 'nobody2')[1]).group(1)
    assert len(salts) == 1 and other not in salts


def refusals(broker):
    """How long each took."""
    took = {'anna': [], 'nobody': []}
    for i in range(60):
        name = ('anna', 'nobody')[i % 2]
        with Raw(broker.port) as c:
            x, challenge = begin(c, name, 'wrong')
            proof = auth_packet(CONTINUE, data=x.final(challenge))
            start = time.perf_counter()
            c.send(proof)
            c.expect(CONNACK)
            took[name].append(time.perf_counter() - start)
    return took


def test_time_tells_nothing(broker):
    """Medians of many refusals; generous, for the machine is shared."""
    for _ in range(4):		# what tells something does so each time
        a, b = (statistics.median(v) for v in refusals(broker).values())
        if abs(a - b) < 0.5 * max(a, b) + 0.0005:
            return
    raise AssertionError(f'{a * 1000:.2f} and {b * 1000:.2f} ms')


def test_log_says_what_the_peer_is_not_told(broker):
    start = broker.log_size()
    for user, password, says in (('anna', 'wrong', 'the password is wrong'),
                                 ('nobody', 'x', 'no such user'),
                                 ('old', 'old', 'nightjar passwd -H scram-sha-256')):
        with Raw(broker.port) as c:
            x, challenge = begin(c, user, password)
            c.send(auth_packet(CONTINUE, data=x.final(challenge)))
            refusal(c)
        broker.wait_log(f"{says}.*'{user}'|'{user}'.*{says}", start)


@pytest.mark.parametrize('first, says', [
    (b'', 'empty'), (b'\xff', 'UTF-8'), (b'n,,n=anna', 'nonce'), (b'n,,r=abc', 'user name'),
    (b'x', 'n,,'), (b'p=tls-exporter,,n=anna,r=abc', 'PLUS'), (b'n,a=root,n=anna,r=abc', 'act for'),
    (b'n,,m=1,n=anna,r=abc', 'extension'), (b'n,,n=an=na,r=abc', 'stray'),
    (b'n,,n=' + b'x' * 5000 + b',r=abc', 'long'), (b'x' * 40000, 'long'),
    (b'n,,n=anna,r=' + b'x' * 300, 'nonce')])
def test_malformed_first(broker, first, says):
    """The reason string helps, for it tells nothing of users."""
    with Raw(broker.port) as c:
        c.send(connect_packet('', props={'auth_method': METHOD, 'auth_data': first}))
        ack = refusal(c)
        assert ack.code == NOT_AUTHORIZED and says in ack.props['reason_string']


def test_no_reason_string_when_not_wanted(broker):
    with Raw(broker.port) as c:
        c.send(connect_packet('', props={'auth_method': METHOD, 'auth_data': b'x', 'request_problem': 0}))
        assert not refusal(c).props


@pytest.mark.parametrize('change', [
    lambda m: b'', lambda m: m[:-4], lambda m: m.replace(b'c=biws', b'c=eSws'),
    lambda m: m.replace(b',r=', b',r=x'), lambda m: m.replace(b',p=', b',q='),
    lambda m: m + b',x=1', lambda m: None], ids=range(7))
def test_malformed_final(broker, change):
    with Raw(broker.port) as c:
        x, challenge = begin(c)
        c.send(auth_packet(CONTINUE, data=change(x.final(challenge))))
        assert refusal(c).code == NOT_AUTHORIZED


def test_bound_to_its_header(broker):
    """'y': the client could bind the channel, and believes that we cannot."""
    with Raw(broker.port) as c:
        x = scram.Client('anna', 'pencil', gs2='y,,')
        c.send(connect_packet('', props={'auth_method': METHOD, 'auth_data': x.first()}))
        c.send(auth_packet(CONTINUE, data=x.final(c.expect(AUTH).props['auth_data'])))
        assert c.expect(CONNACK).code == SUCCESS


def test_proof_cannot_be_replayed(broker):
    with Raw(broker.port) as c:
        x, challenge = begin(c)
        proof = auth_packet(CONTINUE, data=x.final(challenge))
        c.send(proof)
        c.expect(CONNACK)
    with Raw(broker.port) as c:
        c.send(connect_packet('', props={'auth_method': METHOD, 'auth_data': x.first()}))
        c.expect(AUTH)
        c.send(proof)
        assert refusal(c).code == NOT_AUTHORIZED


@pytest.mark.parametrize('early', [
    packet(PINGREQ, 0, b''), connect_packet('again'),
    packet(PUBLISH, 0, string('t') + b'\0x'),
    packet(SUBSCRIBE, 2, b'\0\1\0' + string('#') + b'\0'),
    packet(PUBACK, 0, b'\0\1'), packet(CONNACK, 0, b'\0\0\0')], ids=range(6))
def test_nothing_else_before_connack(broker, early):
    """[MQTT-3.1.2-30]: 0x82, and nothing of it was done; in the CONNECT's
    own write too."""
    for together in (False, True):
        with Raw(broker.port) as c:
            if together:
                x = scram.Client('anna', 'pencil')
                c.send(connect_packet('', props={'auth_method': METHOD, 'auth_data': x.first()}) + early)
                c.expect(AUTH)
            else:
                begin(c)
                c.send(early)
            assert refusal(c).code == PROTOCOL_ERROR


def test_disconnect_before_connack(broker):
    with Raw(broker.port) as c:
        begin(c, client_id='gone', will=('w', b'x', 0))
        c.send(packet(DISCONNECT, 0, b'\x04'))
        assert c.closed() is None


@pytest.mark.parametrize('bad, want', [
    (auth_packet(CONTINUE, method='PLAIN', data=b'x'), PROTOCOL_ERROR),
    (auth_packet(CONTINUE, method='scram-sha-256', data=b'x'), PROTOCOL_ERROR),
    (auth_packet(CONTINUE, method=None), PROTOCOL_ERROR),
    (auth_packet(REAUTHENTICATE, data=b'x'), PROTOCOL_ERROR),
    (auth_packet(SUCCESS, data=b'x'), PROTOCOL_ERROR),
    (packet(AUTH, 0, b''), PROTOCOL_ERROR),			# success, no method
    (auth_packet(0x87, data=b'x'), None), (auth_packet(0x01), None),
    (packet(AUTH, 1, bytes([CONTINUE]) + properties({'auth_method': METHOD})), MALFORMED),
    (packet(AUTH, 0, bytes([CONTINUE]) + properties({'auth_method': METHOD}) + b'x'), MALFORMED),
    (packet(AUTH, 0, bytes([CONTINUE]) + properties({'auth_method': [METHOD, METHOD]})), PROTOCOL_ERROR),
    (packet(AUTH, 0, bytes([CONTINUE]) + properties({'auth_method': METHOD, 'auth_data': [b'x', b'x']})),
     PROTOCOL_ERROR),
    (packet(AUTH, 0, bytes([CONTINUE]) + properties({'auth_data': b'x'})), PROTOCOL_ERROR),
    (packet(AUTH, 0, bytes([CONTINUE]) + properties({'auth_method': METHOD, 'session_expiry': 1})),
     MALFORMED),
    (packet(AUTH, 0, bytes([CONTINUE, 5, 0x15]) + b'\0\5ab'), MALFORMED),
    (auth_packet(CONTINUE, data=b'x' * 40000), TOO_LARGE),
], ids=range(16))
def test_bad_auth(broker, bad, want):
    """[MQTT-3.15.1-1], [MQTT-3.15.2-1], [MQTT-4.12.0-5]: before CONNACK it
    ends with a CONNACK, in a session with a DISCONNECT."""
    with Raw(broker.port) as c:
        begin(c)
        c.send(bad)
        code = refusal(c).code
        assert code == want or want is None and code in (MALFORMED, PROTOCOL_ERROR)
    if want == TOO_LARGE:
        return
    with Raw(broker.port) as c:
        login(c)
        if bad[2:3] == bytes([REAUTHENTICATE]):
            c.send(bad)		# data that is none
            assert farewell(c).code == NOT_AUTHORIZED
            return
        c.send(bad)
        code = farewell(c).code
        assert code == want or want is None and code in (MALFORMED, PROTOCOL_ERROR)


def test_reason_string_and_user_properties_in_auth(broker):
    """3.15.2.2.4, 3.15.2.2.5: allowed in AUTH."""
    with Raw(broker.port) as c:
        x, challenge = begin(c)
        c.send(auth_packet(CONTINUE, data=x.final(challenge), reason_string='because',
                           user_property=[('a', 'b'), ('a', 'c')]))
        assert c.expect(CONNACK).code == SUCCESS


def test_data_without_method(broker):
    """3.1.2.11.10."""
    with Raw(broker.port) as c:
        c.send(connect_packet('', props={'auth_data': b'x'}))
        assert c.closed() == PROTOCOL_ERROR


def test_without_a_method(broker):
    """[MQTT-4.12.0-6], [MQTT-4.12.0-7]."""
    for code in (CONTINUE, REAUTHENTICATE):
        with Raw(broker.port) as c:
            ack = c.connect('plain', username='anna', password='pencil')
            assert 'auth_method' not in ack.props and 'auth_data' not in ack.props
            c.send(auth_packet(code, data=b'n,,n=anna,r=abc'))
            assert farewell(c).code == PROTOCOL_ERROR


@pytest.mark.parametrize('version', [3, 4])
def test_auth_of_an_old_client(broker, version):
    with Raw(broker.port, version=version) as c:
        c.connect('old', username='anna', password='pencil')
        c.send(auth_packet(CONTINUE))
        assert c.closed() is None


def test_auth_first(broker):
    with Raw(broker.port) as c:
        c.send(auth_packet(CONTINUE, data=b'x'))
        assert c.closed() is None


def test_maximum_packet_size(broker):
    """[MQTT-3.1.2-24]: an AUTH above the client's bound is not sent."""
    with Raw(broker.port) as c:
        x = scram.Client('anna', 'pencil')
        c.send(connect_packet('', props={'auth_method': METHOD, 'auth_data': x.first(),
                                         'maximum_packet_size': 60}))
        assert refusal(c).code == TOO_LARGE
    with Raw(broker.port) as c:
        login(c, props={'maximum_packet_size': 200})


@paced
def test_not_in_time(brokers, users, pace):
    """connect_timeout is for the whole exchange, however often the client
    says something."""
    b = brokers(f'password_file {users}\nconnect_timeout {2 * pace}\n', anonymous=False)
    with Raw(b.port) as silent, Raw(b.port) as c:
        begin(silent)
        start = time.monotonic()
        c.send(connect_packet('', props={'auth_method': METHOD}))
        c.expect(AUTH)
        time.sleep(1.2 * pace)
        c.send(auth_packet(CONTINUE, data=scram.Client('anna', 'x').first()))
        c.expect(AUTH)
        assert refusal(c).code == NOT_AUTHORIZED
        assert 1.5 * pace < time.monotonic() - start < 3 * pace	# not from the second packet on
        assert silent.closed() == NOT_AUTHORIZED


# Plain passwords beside it.

def test_plain_password_of_a_verifier(broker):
    for version in (3, 4, 5):
        with Raw(broker.port, version=version) as c:
            c.connect('p', username='anna', password='pencil')
        with Raw(broker.port, version=version) as c:
            c.send(connect_packet('p', version, username='anna', password='pen'))
            assert c.closed() in (NOT_AUTHORIZED, 5)


def test_only_scram(brokers, users):
    """auth_methods restricts: no password crosses the wire here."""
    b = brokers(f'password_file {users}\nauth_methods SCRAM-SHA-256\n', anonymous=False)
    for user, password in (('anna', 'pencil'), ('old', 'old')):
        with Raw(b.port) as c:
            c.send(connect_packet('p', username=user, password=password))
            assert refusal(c).code == NOT_AUTHORIZED
    b.wait_log('only by an authentication method')
    with Raw(b.port) as c:
        c.send(connect_packet('p'))
        assert refusal(c).code == NOT_AUTHORIZED
    with Raw(b.port) as c:
        login(c)


def test_only_scram_without_verifiers_is_said(brokers, tmp_path):
    path = os.path.join(str(tmp_path), 'plain')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(passwords.pbkdf2('old', 'old'))
    b = brokers(f'password_file {path}\nauth_methods SCRAM-SHA-256\n', anonymous=False)
    b.wait_log('nobody can log in with a password')
    with Raw(b.port) as c:
        c.send(connect_packet('p', username='old', password='old'))
        assert refusal(c).code == NOT_AUTHORIZED


def test_username_as_clientid(brokers, users):
    """The session's name is the proved one, never a claimed one."""
    b = brokers(f'password_file {users}\nuse_username_as_clientid true\n', anonymous=False)
    with Raw(b.port) as c:
        login(c, client_id='other', username='anna')
        b.wait_log('as anna ')
    with Raw(b.port) as c:
        x = scram.Client('anna', 'pencil')
        c.send(connect_packet('x', props={'auth_method': METHOD, 'auth_data': x.first()}))
        assert refusal(c).code == CLIENT_ID_NOT_VALID


# Re-authentication.

def test_reauth(broker):
    """4.12.1; the last word of the server goes into its AUTH."""
    with Raw(broker.port) as c:
        login(c, client_id='again')
        for _ in range(3):
            x = reauth(c)
            done = c.wait_for(AUTH)
            assert done.code == SUCCESS and done.props['auth_method'] == METHOD
            x.verify(done.props['auth_data'])
        c.ping()
        broker.wait_log('again re-authenticated by SCRAM-SHA-256')


def test_messages_go_on_meanwhile(broker):
    with Raw(broker.port) as c, Raw(broker.port) as d:
        login(c)
        login(d, 'bert', 'paper')
        c.subscribe('to/c', qos=1)
        d.subscribe('to/d', qos=1)
        x = scram.Client('anna', 'pencil')
        c.send(auth_packet(REAUTHENTICATE, data=x.first()))
        ask = c.expect(AUTH)
        assert c.publish_acked('to/d', 'out') < 0x80
        assert d.message().payload == b'out'
        assert d.publish_acked('to/c', 'in') < 0x80
        assert c.message().payload == b'in'
        c.ping()
        c.send(auth_packet(CONTINUE, data=x.final(ask.props['auth_data'])))
        assert c.expect(AUTH).code == SUCCESS


def test_reauth_failed(broker):
    """[MQTT-4.12.1-2]."""
    with Raw(broker.port) as c:
        login(c)
        reauth(c, password='wrong')
        end = farewell(c)
        assert end.code == NOT_AUTHORIZED and not end.props


@pytest.mark.parametrize('user, password', [('bert', 'paper'), ('nobody', 'x')])
def test_reauth_as_somebody_else(broker, user, password):
    """SECURITY 46: who a session is does not change."""
    with Raw(broker.port) as c:
        login(c, client_id='steady')
        reauth(c, user, password)
        assert farewell(c).code == NOT_AUTHORIZED


def test_reauth_with_another_method(broker):
    """[MQTT-4.12.1-1]."""
    with Raw(broker.port) as c:
        login(c)
        c.send(auth_packet(REAUTHENTICATE, method='SCRAM-SHA-1', data=b'n,,n=anna,r=abc'))
        assert farewell(c).code == PROTOCOL_ERROR


def test_reauth_inside_a_reauth(broker):
    with Raw(broker.port) as c:
        login(c)
        c.send(auth_packet(REAUTHENTICATE, data=b'n,,n=anna,r=abc'))
        c.expect(AUTH)
        c.send(auth_packet(REAUTHENTICATE, data=b'n,,n=anna,r=abd'))
        assert farewell(c).code == PROTOCOL_ERROR


def test_reauth_malformed(broker):
    with Raw(broker.port) as c:
        login(c)
        c.send(auth_packet(REAUTHENTICATE, data=b'n,,n=anna'))
        end = farewell(c)
        assert end.code == NOT_AUTHORIZED and 'nonce' in end.props['reason_string']


def test_reauth_sends_the_will(broker):
    """A connection that ends so did not say goodbye."""
    with Raw(broker.port) as d, Raw(broker.port) as c:
        login(d, 'bert', 'paper')
        d.subscribe('w')
        login(c, will=('w', b'gone', 0))
        reauth(c, password='wrong')
        assert farewell(c).code == NOT_AUTHORIZED
        assert d.message().payload == b'gone'


@paced
def test_reauth_not_in_time(brokers, users, pace):
    b = brokers(f'password_file {users}\nconnect_timeout {2 * pace}\n', anonymous=False)
    with Raw(b.port) as c:
        login(c)
        time.sleep(2 * pace + 0.5)	# the CONNECT's own deadline is over
        c.ping()
        c.send(auth_packet(REAUTHENTICATE, data=b'n,,n=anna,r=abc'))
        c.expect(AUTH)
        c.ping()
        start = time.monotonic()
        assert farewell(c).code == NOT_AUTHORIZED
        assert time.monotonic() - start < 6 * pace


def test_reauth_has_a_pace(broker):
    """A client cannot keep the broker busy with it (REAUTH_BURST)."""
    with Raw(broker.port) as c:
        login(c)
        done = 0
        with pytest.raises(AssertionError, match='type 14'):
            for _ in range(200):
                reauth(c)
                assert c.wait_for(AUTH).code == SUCCESS
                done += 1
        assert 20 <= done < 60
        with pytest.raises(Closed):
            c.recv()
    with Raw(broker.port) as c:
        login(c)


def test_removed_user_is_sent_away(broker, users):
    with Raw(broker.port) as c:
        login(c, client_id='leaver')
        with open(users, 'w', encoding='utf-8') as f:
            f.write(scram.SECRET + scram.verifier('bert', 'paper'))
        broker.reload()
        assert farewell(c).code == NOT_AUTHORIZED


def test_method_taken_away(broker, users):
    with Raw(broker.port) as c:
        login(c, client_id='leaver')
        with open(users, 'w', encoding='utf-8') as f:
            f.write(passwords.pbkdf2('anna', 'pencil'))
        broker.reload()
        assert farewell(c).code == NOT_AUTHORIZED


def test_many_half_exchanges_are_forgotten(broker):
    """Clients that vanish in the middle leave nothing behind."""
    for _ in range(200):
        with Raw(broker.port) as c:
            begin(c)
    with Raw(broker.port) as c:
        login(c)
        c.send(auth_packet(REAUTHENTICATE, data=b'n,,n=anna,r=abc'))
        c.expect(AUTH)
    with Raw(broker.port) as c:
        login(c)
        c.ping()


# The file.

def test_passwd_makes_verifiers(brokers, tmp_path):
    path = os.path.join(str(tmp_path), 'made')

    def passwd(*args):
        return subprocess.run([NIGHTJAR, 'passwd', *args], capture_output=True, text=True, check=False)

    assert passwd('-c', '-b', path, 'plain', 'plain').returncode == 0
    assert passwd('-b', '-H', 'scram-sha-256', path, 'anna', 'pencil').returncode == 0
    assert passwd('-b', '-H', 'scram-sha-256', '-I', '5000', path, 'bert', 'paper').returncode == 0
    assert passwd('-b', path, 'anna', 'other').returncode == 0		# stays a verifier
    assert passwd('-b', '-H', 'scram-sha-256', '-I', '4095', path, 'carl', 'x').returncode == 2
    assert 'RFC 4013' in passwd('-b', '-H', 'scram-sha-256', path, 'carl', 'a\u00a0b').stderr
    with open(path, encoding='utf-8') as f:
        text = f.read()
    assert text.count('#nightjar-scram-secret: ') == 1
    assert re.search(r'^anna:SCRAM-SHA-256\$32768:', text, re.M)
    assert re.search(r'^bert:SCRAM-SHA-256\$5000:', text, re.M)
    os.chmod(path, 0o600)
    b = brokers(f'password_file {path}\n', anonymous=False)
    for user, password in (('anna', 'other'), ('bert', 'paper')):
        with Raw(b.port) as c:
            login(c, user, password)
        with Raw(b.port) as c:
            c.connect('p', username=user, password=password)


@pytest.mark.parametrize('line', [
    'x:SCRAM-SHA-256$4095:AAAAAAAAAAA=$' + 'A' * 43 + '=:' + 'A' * 43 + '=',
    'x:SCRAM-SHA-256$3000000:AAAAAAAAAAA=$' + 'A' * 43 + '=:' + 'A' * 43 + '=',
    'x:SCRAM-SHA-256$4096:AAAA$' + 'A' * 43 + '=:' + 'A' * 43 + '=',
    'x:SCRAM-SHA-256$4096:AAAAAAAAAAA=$' + 'A' * 43 + '=', 'x:SCRAM-SHA-256$',
    '#nightjar-scram-secret: AAAA'])
def test_damaged_verifier_refuses_the_start(brokers, tmp_path, line):
    path = os.path.join(str(tmp_path), 'damaged')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(line + '\n')
    port = free_port()
    conf = os.path.join(str(tmp_path), 'conf')
    with open(conf, 'w', encoding='utf-8') as f:
        f.write(f'listener {port} 127.0.0.1\npassword_file {path}\n')
    p = programs.run([NIGHTJAR, 'serve', '-c', conf])
    assert p.returncode != 0 and 'line 1' in p.stdout


# Clients that others wrote.

@pytest.mark.parametrize('scheme', ['mqtt', 'ws'])
def test_mqttjs(brokers, users, scheme):
    port = free_port()
    b = brokers(f'password_file {users}\nlistener {port} 127.0.0.1\nprotocol websockets\n',
                extra_ports=[port], anonymous=False)
    url = f'{scheme}://127.0.0.1:{port if scheme == "ws" else b.port}'
    for password, status in (('pencil', 0), ('pen', 2)):
        p = programs.run(['node', 'scram.mjs', url, 'anna', password], cwd=programs.mqttjs_folder())
        assert p.returncode == status, p.stdout


# Our own client.

def client(program, port, *args, **kw):
    return programs.run([NIGHTJAR, program, '-h', '127.0.0.1', '-p', str(port), *args], **kw)


SCRAM = ('--auth-method', METHOD, '-u', 'anna', '-P', 'pencil')


def test_pub_and_sub(broker):
    assert client('pub', broker.port, *SCRAM, '-t', 't', '-m', 'x', '-r', '-q', '1').returncode == 0
    got = client('sub', broker.port, *SCRAM, '-t', 't', '-C', '1')
    assert got.returncode == 0 and got.stdout == 'x\n'


def test_pub_refused(broker):
    got = client('pub', broker.port, '--auth-method', METHOD, '-u', 'anna', '-P', 'pen', '-t', 't', '-m', 'x')
    assert got.returncode == NOT_AUTHORIZED


@pytest.mark.parametrize('args, says', [
    (('--auth-method', 'PLAIN', '-u', 'a', '-P', 'b'), 'SCRAM-SHA-256'),
    (('--auth-method', METHOD, '-u', 'a'), 'password'), (('--auth-method', METHOD), 'user name'),
    (('--auth-method', METHOD, '-u', 'a', '-P', 'b\u00a0c'), 'SASLprep'),
    (('--reauth', '3', '-u', 'a', '-P', 'b'), '--auth-method'),
    (('-D', 'connect', 'authentication-method', 'x', *SCRAM), 'already')])
def test_options_that_cannot_be(broker, args, says):
    got = client('pub', broker.port, *args, '-t', 't', '-m', 'x')
    assert got.returncode == 1 and says in got.stdout


def test_sub_reauthenticates(broker):
    start = broker.log_size()
    with subprocess.Popen([NIGHTJAR, 'sub', '-p', str(broker.port), '-h', '127.0.0.1', *SCRAM, '--reauth', '1',
                           '-i', 'again', '-t', 't', '-C', '1']) as sub:
        broker.wait_log('again re-authenticated', start)
        mark = broker.log_size()
        broker.wait_log('again re-authenticated', mark)
        assert client('pub', broker.port, *SCRAM, '-t', 't', '-m', 'x').returncode == 0
        assert sub.wait(PATIENCE) == 0


class Impostor:
    """A broker for one client: says what it is told to, knows no password."""

    def __init__(self):
        self.server = socket.create_server(('127.0.0.1', 0))
        self.port = self.server.getsockname()[1]

    def run(self, program, replies):
        """replies: functions of what the client's last packet was."""
        with subprocess.Popen([NIGHTJAR, program, '-h', '127.0.0.1', '-p', str(self.port), *SCRAM, '-t', 't',
                               '-m', 'x'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as p:
            conn, _ = self.server.accept()
            conn.settimeout(PATIENCE)
            with conn:
                said = b''
                for reply in replies:
                    said = conn.recv(65536)
                    conn.sendall(reply(said))
                if replies:
                    with contextlib.suppress(OSError):
                        said += conn.recv(65536)
                out = p.communicate(timeout=PATIENCE)[0]
        return p.returncode, out, said

    def close(self):
        self.server.close()


@pytest.fixture
def impostor():
    i = Impostor()
    yield i
    i.close()


def nonce_of(connect):
    return re.search(rb'n,,n=anna,r=([^,]{24})', connect).group(1)


def challenge_of(connect, iterations=b'4096', extra=b'zzzz'):
    return auth_packet(CONTINUE, data=b'r=' + nonce_of(connect) + extra + b',s=W22ZaJ0SNY4=,i=' + iterations)


def connack(props=None, code=0):
    return packet(CONNACK, 0, bytes([0, code]) + properties(props))


SIGNED = {'auth_method': METHOD, 'auth_data': b'v=' + b'A' * 43 + b'='}


@pytest.mark.parametrize('replies, says', [
    ([lambda k: connack()], 'SCRAM-SHA-256'),
    ([lambda k: connack({'auth_method': METHOD})], 'not asked'),
    ([lambda k: connack(SIGNED)], 'not asked'),
    ([challenge_of, lambda k: connack({'auth_method': METHOD})], 'knows the password'),
    ([challenge_of, lambda k: connack(SIGNED)], 'knows the password'),
    ([challenge_of, lambda k: connack({'auth_method': METHOD, 'auth_data': b'e=other-error'})], 'other-error'),
    ([lambda k: challenge_of(k, b'1')], '4096'), ([lambda k: challenge_of(k, b'2000000000')], '2000000'),
    ([lambda k: challenge_of(k, extra=b'')], 'nonce'),
    ([lambda k: auth_packet(CONTINUE, method='X', data=b'x')], 'another method'),
    ([lambda k: auth_packet(SUCCESS, data=b'x')], 'code 0'),
    ([challenge_of, lambda k: auth_packet(CONTINUE, data=b'r=x')], 'goes on')], ids=range(12))
def test_a_broker_that_does_not_know_the_password(impostor, replies, says):
    """Nothing is published to it, and nothing of the password is sent."""
    status, out, said = impostor.run('pub', replies)
    assert status != 0 and says in out
    assert b'pencil' not in said and b'\x30' not in said[:1] and b'\0\1tx' not in said


def test_auth_nobody_asked_for(impostor):
    """[MQTT-4.12.0-6]: a server may not, and the client does not play along."""
    with subprocess.Popen([NIGHTJAR, 'pub', '-V', '5', '-h', '127.0.0.1', '-p', str(impostor.port), '-t', 't',
                           '-m', 'x'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as p:
        conn, _ = impostor.server.accept()
        with conn:
            conn.recv(65536)
            conn.sendall(auth_packet(CONTINUE, data=b'x'))
            out = p.communicate(timeout=PATIENCE)[0]
    assert p.returncode != 0 and 'not asked for' in out
