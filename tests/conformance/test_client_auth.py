# SPDX-License-Identifier: Apache-2.0
"""Enhanced authentication, our client's part: MQTT 5.0 4.12, 3.15."""
import base64
import os

import pytest

from clauses import clause
from peer import Peer, start
from raw import AUTH, CONNECT, DISCONNECT, PUBLISH, SUBSCRIBE, packet, properties, string
from scram import METHOD, b64, derive, mac

pytestmark = pytest.mark.ours
CONTINUE, AGAIN = 0x18, 0x19
LOGIN = ['--auth-method', METHOD, '-u', 'anna', '-P', 'secret']


class Server:
    """The other side of one exchange."""

    def __init__(self, client_first, password='secret', iterations=4096):
        self.bare = client_first.split(b',', 2)[2].decode()
        assert client_first.startswith(b'n,,n=anna,r=')
        self.nonce = self.bare.split('r=')[1] + b64(os.urandom(9))
        salt = os.urandom(12)
        self.keys = derive(password, salt, iterations)
        self.first = f'r={self.nonce},s={b64(salt)},i={iterations}'

    def final(self, client_final):
        """server-final, once the proof holds."""
        text = client_final.decode()
        bare, proof = text.rsplit(',p=', 1)
        assert bare == f'c={b64(b"n,,")},r={self.nonce}'
        message = f'{self.bare},{self.first},{bare}'.encode()
        _, stored, server = self.keys
        key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), mac(stored, message)))
        assert key == self.keys[0], 'the proof does not hold'
        return f'v={b64(mac(server, message))}'


def say(c, code, method=METHOD, data=None):
    props = {}
    if method:
        props['auth_method'] = method
    if data is not None:
        props['auth_data'] = data
    c.send(packet(AUTH, 0, bytes([code]) + properties(props)))


def accepted(peer, subscriber=True):
    """A connection whose client has been let in."""
    c = peer.take()
    connect = c.expect(CONNECT)
    s = Server(connect.props['auth_data'])
    say(c, CONTINUE, data=s.first)
    answer = c.expect(AUTH)
    assert answer.props['auth_method'] == METHOD
    c.connack(props={'auth_method': METHOD, 'auth_data': s.final(answer.props['auth_data'])})
    if subscriber:
        c.suback(c.expect(SUBSCRIBE))
    return c


@clause('MQTT-3.1.2-30', 'MQTT-3.15.2-1', 'MQTT-4.12.0-2', 'MQTT-4.12.0-3', 'MQTT-4.12.0-5',
        'MQTT-3.15.1-1')
@pytest.mark.parametrize('name', ['pub', 'sub', 'rr'])
def test_exchange(name):
    """CONNECT names the method and has the first data; AUTH 0x18 is answered by
    AUTH 0x18; and nothing else is sent before CONNACK."""
    more = {'pub': ['-m', 'x'], 'sub': [], 'rr': ['-e', 'b', '-m', 'x']}[name]
    with Peer() as peer, start(peer, name, '-t', 'a', *more, *LOGIN):
        c = peer.take()
        connect = c.expect(CONNECT)
        assert connect.props['auth_method'] == METHOD and connect.password is None
        s = Server(connect.props['auth_data'])
        c.silent(0.1)
        say(c, CONTINUE, data=s.first)
        answer = c.expect(AUTH)
        assert answer.raw[0] == 0xf0
        assert (answer.code, answer.props['auth_method']) == (CONTINUE, METHOD)
        c.silent(0.1)
        c.connack(props={'auth_method': METHOD, 'auth_data': s.final(answer.props['auth_data'])})
        c.expect(PUBLISH if name == 'pub' else SUBSCRIBE)


@clause('MQTT-4.12.0-5', 'MQTT-4.12.0-3', 'MQTT-3.15.2-1')
@pytest.mark.parametrize('what', ['other method', 'no method', 'code 0', 'code 0x19', 'code 0x99',
                                  'no data', 'another nonce', 'CONNACK without a method',
                                  'CONNACK without a proof', 'CONNACK with a wrong proof'])
def test_exchanges_that_must_fail(what):
    with Peer() as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', *LOGIN) as p:
        c = peer.take()
        s = Server(c.expect(CONNECT).props['auth_data'])
        code = {'code 0': 0, 'code 0x19': AGAIN, 'code 0x99': 0x99}.get(what, CONTINUE)
        method = {'other method': 'PLAIN', 'no method': None}.get(what, METHOD)
        data = {'no data': None, 'another nonce': s.first[2:].join(['r=x', ''])}.get(what, s.first)
        say(c, code, method, data)
        if what.startswith('CONNACK'):
            final = s.final(c.expect(AUTH).props['auth_data'])
            props = {'auth_method': METHOD, 'auth_data': final}
            if what.endswith('a method'):
                del props['auth_method'], props['auth_data']
            elif what.endswith('without a proof'):
                del props['auth_data']
            else:
                props['auth_data'] = 'v=' + b64(bytes(32))
            c.connack(props=props)
        assert all(k.kind == DISCONNECT for k in c.rest())
        assert p.status() != 0
        assert 'Error' in p.text()


@clause('MQTT-4.12.1-1', 'MQTT-3.15.2-1', 'MQTT-4.12.0-5')
def test_again():
    """Re-authentication has the method of the first time; messages go on."""
    with Peer() as peer, start(peer, 'sub', '-t', 'a', '--reauth', '1', *LOGIN) as p:
        c = accepted(peer)
        again = c.expect(AUTH)
        assert (again.code, again.props['auth_method']) == (AGAIN, METHOD)
        s = Server(again.props['auth_data'])
        c.publish('a', b'meanwhile')
        say(c, CONTINUE, data=s.first)
        answer = c.expect(AUTH)
        assert (answer.code, answer.props['auth_method']) == (CONTINUE, METHOD)
        say(c, 0, data=s.final(answer.props['auth_data']))
        p.printed(b'meanwhile\n')
        assert c.expect(AUTH).code == AGAIN	# and again
        assert p.process.poll() is None


@clause('MQTT-4.12.1-2', 'MQTT-4.12.0-5')
@pytest.mark.parametrize('what', ['refused', 'a wrong proof', 'another method'])
def test_again_and_failed(what):
    """The client closes; who cannot prove to know the password is no broker."""
    with Peer() as peer, start(peer, 'sub', '-t', 'a', '--reauth', '1', *LOGIN) as p:
        c = accepted(peer)
        s = Server(c.expect(AUTH).props['auth_data'])
        if what == 'refused':
            c.send(packet(DISCONNECT, 0, b'\x87'))
            c.ended()
            p.ends(0x87)
            return
        if what == 'another method':
            say(c, CONTINUE, 'PLAIN', s.first)
        else:
            say(c, CONTINUE, data=s.first)
            s.final(c.expect(AUTH).props['auth_data'])
            say(c, 0, data='v=' + b64(bytes(32)))
        assert all(k.kind == DISCONNECT for k in c.rest())
        assert p.status() != 0


def test_a_message_is_not_taken_for_an_answer():
    """PUBLISH before CONNACK, in the middle of the exchange."""
    with Peer() as peer, start(peer, 'sub', '-t', 'a', *LOGIN) as p:
        c = peer.take()
        s = Server(c.expect(CONNECT).props['auth_data'])
        say(c, CONTINUE, data=s.first)
        c.expect(AUTH)
        c.send(packet(PUBLISH, 0, string('a') + b'\x00x'))
        assert all(k.kind == DISCONNECT for k in c.rest())
        p.ends(2)
        assert p.out == b''
