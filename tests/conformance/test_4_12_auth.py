# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 3.15 and 4.12: AUTH, enhanced authentication; with SCRAM-SHA-256."""
import os

import pytest

import scram
from clauses import clause
from kit import (MALFORMED, PROTOCOL_ERROR, Peer, connect_refused, connected, ended, props_of, publish,
                 refused, subscribe)
from raw import (AUTH, CONNACK, DISCONNECT, PINGREQ, PINGRESP, PUBLISH, SUBACK, Closed, connect_packet,
                 packet)
from scram import METHOD

pytestmark = pytest.mark.ours		# Mosquitto 2.0 has no method of its own

SUCCESS, CONTINUE, REAUTHENTICATE = 0x00, 0x18, 0x19
NOT_AUTHORIZED, BAD_METHOD = 0x87, 0x8c


@pytest.fixture(scope='module')
def safe(base_folder):
    """A broker that knows anna and bert, by SCRAM only."""
    from blackbox_fixtures import Factory, new_folder	# pylint: disable=import-outside-toplevel
    path = os.path.join(new_folder(base_folder, 'users-'), 'users')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(scram.SECRET + scram.verifier('anna', 'pencil') + scram.verifier('bert', 'paper'))
    os.chmod(path, 0o600)
    factory = Factory(base_folder)
    yield factory(f'password_file {path}\n', anonymous=False)
    factory.finish()


def auth(code, data=None, method=METHOD, **more):
    props = dict(more)
    if method is not None:
        props['auth_method'] = method
    if data is not None:
        props['auth_data'] = data
    return packet(AUTH, 0, bytes([code]) + props_of(**props))


def begin(c, client_id='anna-1', user='anna', password='pencil', **kw):
    """CONNECT, and what the broker asks next."""
    x = scram.Client(user, password)
    props = {'auth_method': METHOD, 'auth_data': x.first(), **kw.pop('props', {})}
    c.send(connect_packet(client_id, props=props, **kw))
    ask = c.expect(AUTH)
    assert (ask.code, ask.flags) == (CONTINUE, 0)
    assert set(ask.props) == {'auth_method', 'auth_data'} and ask.props['auth_method'] == METHOD
    return x, ask.props['auth_data']


def login(c, *args, **kw):
    x, challenge = begin(c, *args, **kw)
    c.send(auth(CONTINUE, x.final(challenge)))
    a = c.expect(CONNACK)
    assert a.code == 0 and a.props['auth_method'] == METHOD
    x.verify(a.props['auth_data'])
    return a


@pytest.fixture(autouse=True)
def others(safe):
    """Somebody who is logged in is served as before."""
    with Peer(safe.port) as c:
        login(c, 'other', 'bert', 'paper')
        c.subscribe('others')
        yield
        c.publish('others', 'x')
        assert c.message().payload == b'x'


# Methods.

@clause('MQTT-4.12.0-1', 'MQTT-3.2.2-7')
@pytest.mark.parametrize('method', ['NONE-SUCH', 'scram-sha-256', '', 'SCRAM-SHA-256 '])
def test_method_that_is_not_there(safe, method):
    with Peer(safe.port) as c:
        c.send(connect_packet('x', props={'auth_method': method, 'auth_data': b'n,,n=anna,r=abcdef'}))
        connect_refused(c, BAD_METHOD)


@clause('MQTT-4.12.0-1', 'MQTT-4.12.0-6')
def test_no_method_at_all(broker):
    """A broker without any."""
    with Peer(broker.port) as c:
        c.send(connect_packet('x', props={'auth_method': METHOD, 'auth_data': b'n,,n=anna,r=abcdef'}))
        connect_refused(c, BAD_METHOD)


@clause('MQTT-4.12.0-2', 'MQTT-4.12.0-3', 'MQTT-4.12.0-5', 'MQTT-3.15.2-1')
@pytest.mark.parametrize('data_first', [True, False])
def test_login(safe, data_first):
    """AUTH with 0x18 and the method; then CONNACK with the method and the
    broker's own proof.  Data may begin in the CONNECT or behind it."""
    with Peer(safe.port) as c:
        if data_first:
            login(c)
        else:
            c.send(connect_packet('anna-1', props={'auth_method': METHOD}))
            ask = c.expect(AUTH)
            assert (ask.code, ask.props['auth_method']) == (CONTINUE, METHOD)
            x = scram.Client('anna', 'pencil')
            challenge = c.answer_to(auth(CONTINUE, x.first()))
            assert (challenge.code, challenge.props['auth_method']) == (CONTINUE, METHOD)
            a = c.answer_to(auth(CONTINUE, x.final(challenge.props['auth_data'])))
            assert (a.kind, a.code, a.props['auth_method']) == (CONNACK, 0, METHOD)
            x.verify(a.props['auth_data'])
        c.subscribe('mine')
        c.publish('mine', 'x')
        assert c.message().payload == b'x'


@clause('MQTT-4.12.0-4', 'MQTT-3.2.2-7')
@pytest.mark.parametrize('how', ['wrong proof', 'wrong password', 'nobody', 'nonsense', 'nothing'])
def test_login_that_fails(safe, how):
    with Peer(safe.port) as c:
        x, challenge = begin(c, user='nobody' if how == 'nobody' else 'anna',
                             password='pen' if how == 'wrong password' else 'pencil')
        c.send(auth(CONTINUE, {'nonsense': b'\x00\xff', 'nothing': None}.get(
            how, x.final(challenge, wrong=how == 'wrong proof'))))
        a = connect_refused(c, NOT_AUTHORIZED)
        assert 'auth_data' not in a.props


# AUTH packets that may not be.

FAULTS = {
    'success': auth(SUCCESS, b'x'), 're-authenticate too early': auth(REAUTHENTICATE, b'x'),
    'another method': auth(CONTINUE, b'x', method='OTHER'), 'no method': auth(CONTINUE, None, method=None),
    'data without a method': packet(AUTH, 0, b'\x18' + props_of(auth_data=b'x')),
    'a code that is none': auth(0x01, b'x'), 'a code that is none, 0x80': auth(0x80, b'x'),
    'empty, which is success': packet(AUTH, 0, b''), 'flags': packet(AUTH, 1, b'\x18\x00'),
    'no properties': packet(AUTH, 0, b'\x18\x00'),
}
CLAUSES = {'success': 'MQTT-3.15.2-1', 'another method': 'MQTT-4.12.0-5', 'no method': 'MQTT-4.12.0-5',
           'a code that is none': 'MQTT-3.15.2-1', 'flags': 'MQTT-3.15.1-1'}


@clause('MQTT-4.12.0-4', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('what', [pytest.param(w, marks=clause(CLAUSES[w]) if w in CLAUSES else [])
                                  for w in FAULTS])
def test_bad_auth_before_connack(safe, what):
    """The connection ends; a DISCONNECT is not for now, a CONNACK may be."""
    with Peer(safe.port) as c:
        begin(c)
        c.send(FAULTS[what])
        assert c.closed() in (None, MALFORMED, PROTOCOL_ERROR, NOT_AUTHORIZED, BAD_METHOD)
        assert [p.kind for p in c.all] in ([AUTH], [AUTH, CONNACK])


@clause('MQTT-4.13.1-1', 'MQTT-4.12.1-1')
@pytest.mark.parametrize('what', [pytest.param(w, marks=clause(CLAUSES[w]) if w in CLAUSES else [])
                                  for w in FAULTS if not w.startswith('re-')])
def test_bad_auth_after_connack(safe, what):
    with Peer(safe.port) as c:
        login(c)
        c.send(FAULTS[what])
        refused(c, MALFORMED if what == 'flags' else PROTOCOL_ERROR)


@clause('MQTT-4.13.1-1')
def test_continue_that_nobody_asked_for(safe):
    with Peer(safe.port) as c:
        login(c)
        c.send(auth(CONTINUE, b'x'))
        refused(c, PROTOCOL_ERROR)


@clause('MQTT-3.1.2-30', 'MQTT-4.12.0-4')
@pytest.mark.parametrize('what', ['PUBLISH', 'SUBSCRIBE', 'PINGREQ', 'CONNECT'])
def test_only_auth_before_connack(safe, what):
    """The server's side of it: anything else ends the connection, and is not
    done."""
    data = {'PUBLISH': publish('others', b'no'), 'SUBSCRIBE': subscribe(('others', 0)),
            'PINGREQ': packet(PINGREQ, 0, b''), 'CONNECT': connect_packet('again')}[what]
    with Peer(safe.port) as c:
        begin(c)
        c.send(data)
        assert c.closed() in (None, PROTOCOL_ERROR)
        assert [p.kind for p in c.all] in ([AUTH], [AUTH, CONNACK])


@clause('MQTT-3.1.2-30')
def test_disconnect_before_connack(safe):
    with Peer(safe.port) as c:
        begin(c)
        c.send(packet(DISCONNECT, 0, b''))
        assert c.closed() in (None, PROTOCOL_ERROR)


# Without a method.

@clause('MQTT-4.12.0-6', 'MQTT-4.12.0-7')
def test_without_a_method(broker, unharmed):
    """No AUTH and no method from the broker; from the client it is refused."""
    for data in (auth(REAUTHENTICATE, b'x'), auth(CONTINUE, b'x'), packet(AUTH, 0, b''), auth(SUCCESS)):
        with connected(broker, 'plain') as c:
            assert 'auth_method' not in c.all[0].props and 'auth_data' not in c.all[0].props
            c.ping()
            c.send(data)
            refused(c, PROTOCOL_ERROR)
            assert not [p for p in c.all if p.kind == AUTH]


@clause('MQTT-4.12.0-6')
def test_refused_without_a_method(safe):
    """Who comes without a method to a broker that has some is not asked by AUTH."""
    with Peer(safe.port) as c:
        c.send(connect_packet('plain', username='anna', password='wrong'))
        a = connect_refused(c, NOT_AUTHORIZED, 0x86)
        assert 'auth_method' not in a.props and 'auth_data' not in a.props


# Re-authentication.

def reauth(c, user='anna', password='pencil', wrong=False):
    x = scram.Client(user, password)
    c.send(auth(REAUTHENTICATE, x.first()))
    ask = c.wait_for(AUTH)
    assert (ask.code, ask.props['auth_method']) == (CONTINUE, METHOD)
    c.send(auth(CONTINUE, x.final(ask.props['auth_data'], wrong)))
    return x


@clause('MQTT-4.12.1-1', 'MQTT-4.12.0-5', 'MQTT-4.12.0-3')
def test_reauthentication(safe):
    """AUTH 0x00 with the method ends it; in the meantime all else goes on."""
    with Peer(safe.port) as c:
        login(c)
        c.subscribe('re')
        for _ in range(2):
            x = scram.Client('anna', 'pencil')
            c.send(auth(REAUTHENTICATE, x.first()))
            ask = c.wait_for(AUTH)
            c.ping()
            c.publish('re', 'meanwhile')
            assert c.message().payload == b'meanwhile'
            c.send(auth(CONTINUE, x.final(ask.props['auth_data'])))
            done = c.wait_for(AUTH)
            assert (done.code, done.props['auth_method']) == (SUCCESS, METHOD)
            x.verify(done.props['auth_data'])
        c.ping()


@clause('MQTT-4.12.1-2', 'MQTT-3.14.4-2')
@pytest.mark.parametrize('how', ['wrong proof', 'another user', 'nonsense'])
def test_reauthentication_that_fails(safe, how):
    """DISCONNECT, and the end; the session is left to its interval."""
    with Peer(safe.port) as c:
        login(c, props={'session_expiry': 60})
        if how == 'nonsense':
            c.send(auth(REAUTHENTICATE, b'\x00'))
        elif how == 'another user':
            reauth(c, 'bert', 'paper')
        else:
            reauth(c, wrong=True)
        refused(c, NOT_AUTHORIZED)
    with Peer(safe.port) as c:
        assert login(c, clean=False, props={'session_expiry': 60}).body[0] == 1
        c.disconnect(props={'session_expiry': 0})


@clause('MQTT-3.15.2-2', 'MQTT-3.15.2-3', 'MQTT-3.1.2-24')
def test_auth_and_maximum_packet_size(safe):
    """An AUTH, and what it carries, is never larger than the client takes: from
    a size on the exchange works, below it ends."""
    worked = []
    for limit in (5, 20, 60, 100, 120, 150, 200, 300):
        with Peer(safe.port) as c:
            c.max_packet = limit
            x = scram.Client('anna', 'pencil')
            c.send(connect_packet('small', props={'auth_method': METHOD, 'auth_data': x.first(),
                                                  'maximum_packet_size': limit}))
            try:
                p = c.recv()
                if p.kind == AUTH:
                    p = c.answer_to(auth(CONTINUE, x.final(p.props['auth_data'])))
                worked.append(p.kind == CONNACK and p.code == 0)
            except Closed:
                worked.append(False)
    assert worked == sorted(worked) and worked[0] is False and worked[-1] is True
