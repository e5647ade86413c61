# SPDX-License-Identifier: Apache-2.0
"""JSON Web Tokens: whose signature counts, what of the claims, by which ways
they come in, and what happens when they end."""
import base64
import json
import os
import subprocess
import time

import pytest

import conftest
import passwords
from dynsecs import acl, state
from harness import NIGHTJAR, PATIENCE, paced, wait_until
from jwtokens import Key, b64, hs256, unsigned
from raw import AUTH, CONNACK, DISCONNECT, Raw, connect_packet, packet, properties

pytestmark = pytest.mark.ours

NOT_AUTHORIZED = 0x87


class Site:
    def __init__(self, base):
        self.folder = conftest.new_folder(base, 'jwt-')
        self.rs, self.es, self.ed = Key('RS256', 'r1'), Key('ES256', 'e1'), Key('EdDSA', 'd1')
        self.pem_only, self.stranger = Key('ES256'), Key('ES256', 'e1')
        self.unsaid, self.wraps = Key('ES256', 'e2'), Key('ES256', 'e3')
        self.jwks = self.write('keys.json', json.dumps(
            {'keys': [self.rs.jwk(alg='RS256', use='sig'), self.es.jwk(), self.ed.jwk(),
                      {**self.rs.jwk(use='enc'), 'kid': 'other'},
                      self.unsaid.jwk(key_ops=['sign', 'verify']), self.wraps.jwk(key_ops=['wrapKey']),
                      {'kty': 'EC', 'crv': 'P-384', 'x': 'AA', 'y': 'AA'}, {'kty': 'AKP', 'pub': 'AA'},
                      {'kty': 'OKP', 'crv': 'X25519', 'x': 'AA'}]}).encode())
        self.pem = self.write('key.pem', self.pem_only.pem())
        self.conf = f'jwt_key_file {self.jwks}\njwt_key_file {self.pem}\n'

    def write(self, name, data, mode=0o644):
        path = os.path.join(self.folder, name)
        with open(path, 'wb') as f:
            f.write(data)
        os.chmod(path, mode)
        return path


@pytest.fixture(scope='module')
def site(base_folder):
    return Site(base_folder)


@pytest.fixture(scope='module')
def served(base_folder, site):
    factory = conftest.Factory(base_folder)
    users = site.write('users', passwords.pbkdf2('plain', 'secret').encode())
    b = factory(site.conf + f'jwt_groups_claim groups\njwt_topics_claim mqtt\npassword_file {users}\n'
                'failed_logins_per_minute 0\n', anonymous=False)
    yield b
    factory.finish()


def answer(port, token, client_id='c', username='', **kw):
    with Raw(port, version=kw.get('version', 5)) as c:
        c.send(connect_packet(client_id, username=username, password=token, **kw))
        return c.expect(CONNACK).code


@pytest.mark.parametrize('who', ['rs', 'es', 'ed', 'pem_only', 'unsaid'])
@pytest.mark.parametrize('version', [5, 4])
def test_good(served, site, who, version):
    start = served.log_size()
    assert answer(served.port, getattr(site, who).token(), version=version) == 0
    served.wait_log("u'dev'", start)


def test_by_another_library(served, site):
    jwt = pytest.importorskip('jwt')
    for key in (site.rs, site.es, site.ed):
        token = jwt.encode({'sub': 'dev', 'exp': int(time.time()) + 60}, key.private_pem(),
                           algorithm=key.alg, headers={'kid': key.kid})
        assert answer(served.port, token) == 0


def test_passwords_go_on_beside_it(served):
    assert answer(served.port, 'secret', username='plain') == 0
    assert answer(served.port, 'wrong', username='plain') == NOT_AUTHORIZED


def test_user_name_is_the_tokens_or_empty(served, site):
    assert answer(served.port, site.es.token(), username='dev') == 0
    assert answer(served.port, site.es.token(), username='plain') == NOT_AUTHORIZED


def flip(token, part, at=5):
    parts = token.split('.')
    text = parts[part]
    parts[part] = text[:at] + ('A' if text[at] != 'A' else 'B') + text[at + 1:]
    return '.'.join(parts)


def now(seconds):
    return int(time.time()) + seconds


# Each makes a token that must not let in, and what the log says of it.
BAD = {
    'none': (lambda s: unsigned(), "algorithm is 'none'"),
    'None': (lambda s: unsigned('None'), "algorithm is 'None'"),
    'empty alg': (lambda s: unsigned(''), "algorithm is ''"),
    'none with a signature': (lambda s: unsigned() + s.es.token().split('.')[2], "'none'"),
    'HS256 with the public key': (lambda s: hs256(s.rs.pem()), "algorithm is 'HS256'"),
    'HS256 with the JWKS': (lambda s: hs256(json.dumps(s.rs.jwk()).encode()), "'HS256'"),
    'RS512': (lambda s: s.rs.token({'alg': 'RS512'}), "algorithm is 'RS512'"),
    'a key that may not verify': (lambda s: s.wraps.token(), 'not by a key'),
    'ES256 said of an RSA key': (lambda s: s.rs.token({'alg': 'ES256'}), 'no key|not by a key'),
    'RS256 said of an EC key': (lambda s: s.es.token({'alg': 'RS256'}), 'no key|not by a key'),
    'EdDSA said of an EC key': (lambda s: s.es.token({'alg': 'EdDSA'}), 'no key|not by a key'),
    'a stranger with our kid': (lambda s: s.stranger.token(), 'not by a key'),
    'no kid of a stranger': (lambda s: s.stranger.token({'kid': None}), 'not by a key'),
    'kid of another key': (lambda s: s.es.token({'kid': 'd1'}), 'no key|not by a key'),
    'kid that is a path': (lambda s: s.stranger.token({'kid': '../../../../dev/null'}), 'not by'),
    'kid that is SQL': (lambda s: s.stranger.token({'kid': "x' UNION SELECT 'k"}), 'not by'),
    'kid that is a number': (lambda s: s.es.token({'kid': 7}), 'kid is no string'),
    'long kid': (lambda s: s.es.token({'kid': 'k' * 300}), 'too long'),
    'key in the head': (lambda s: s.stranger.token({'kid': None, 'jwk': s.stranger.jwk()}), 'not by'),
    'jku': (lambda s: s.stranger.token({'jku': 'http://127.0.0.1/keys'}), 'not by'),
    'x5u': (lambda s: s.stranger.token({'x5u': 'file:///etc/passwd'}), 'not by'),
    'crit': (lambda s: s.es.token({'crit': ['exp']}), 'crit'),
    'changed claims': (lambda s: flip(s.es.token(), 1), 'not by a key'),
    'changed head': (lambda s: flip(s.es.token(), 0, 20), ''),
    'changed signature': (lambda s: flip(s.es.token(), 2), 'not by a key'),
    'no signature': (lambda s: s.es.token().rsplit('.', 1)[0] + '.', 'not by a key'),
    'zero signature': (lambda s: s.es.token().rsplit('.', 1)[0] + '.' + b64(bytes(64)), 'not by'),
    'short signature': (lambda s: s.es.token()[:-4], 'not by a key|not base64url'),
    'long signature': (lambda s: s.es.token() + 'AAAA', 'not by a key'),
    'padding': (lambda s: s.ed.token() + '==', 'not base64url'),
    'stray bits': (lambda s: s.rs.token()[:-1] + '_', 'not base64url|not by a key'),
    'standard base64': (lambda s: s.es.token().rsplit('.', 1)[0] + '.+/' + 'A' * 84, 'not base64url'),
    'four parts': (lambda s: s.es.token() + '.x', ''),
    'no exp': (lambda s: s.es.token(exp=None), 'no exp'),
    'exp is text': (lambda s: s.es.token(exp=str(now(600))), 'no exp, or one that is no time'),
    'exp is endless': (lambda s: s.es.token(raw_claims=b'{"sub":"dev","exp":1e400}'), '.'),
    'exp below zero': (lambda s: s.es.token(exp=-1), 'no time'),
    'expired': (lambda s: s.es.token(exp=now(-31)), r'it ended [3-9]\d s ago'),
    'not yet': (lambda s: s.es.token(nbf=now(40)), 'it begins in'),
    'made in the future': (lambda s: s.es.token(iat=now(40)), 'it begins in'),
    'aud of others': (lambda s: s.es.token(aud='someone'), 'jwt_audience'),
    'no sub': (lambda s: s.es.token(sub=None), 'claim sub'),
    'sub is a number': (lambda s: s.es.token(sub=5), 'claim sub'),
    'sub is empty': (lambda s: s.es.token(sub=''), 'claim sub'),
    'sub with a wildcard': (lambda s: s.es.token(sub='dev+'), 'claim sub'),
    'sub with a line end': (lambda s: s.es.token(sub='dev\nx'), 'claim sub'),
    'sub with NUL': (lambda s: s.es.token(sub='dev\0x'), 'no JSON object'),
    'two subs': (lambda s: s.es.token(raw_claims=b'{"sub":"dev","sub":"admin","exp":%d}'
                                      % now(600)), 'no JSON object'),
    'claims are a list': (lambda s: s.es.token(raw_claims=b'[]'), 'no JSON object'),
    'claims are no UTF-8': (lambda s: s.es.token(raw_claims=b'{"sub":"\xff","exp":9999999999}'),
                            'no JSON object'),
    'deep claims': (lambda s: s.es.token(raw_claims=b'{"a":' * 2000 + b'1' + b'}' * 2000), '.'),
    'groups are a number': (lambda s: s.es.token(groups=5), 'groups are no list'),
    'too many groups': (lambda s: s.es.token(groups=['g'] * 65), 'more than 64 groups'),
    'a group with a line end': (lambda s: s.es.token(groups=['a\nadmin']), 'group'),
    'topics are a list': (lambda s: s.es.token(mqtt=['#']), 'topics are no object'),
    'a topic that is none': (lambda s: s.es.token(mqtt={'publish': ['a/#/b']}), 'topic in it is none'),
}


@pytest.mark.parametrize('how', list(BAD))
def test_bad(served, site, how):
    make, why = BAD[how]
    token = make(site)
    start = served.log_size()
    assert answer(served.port, token) == NOT_AUTHORIZED
    served.wait_log('not accepted.*(token|password|no such user).*(' + why + ')', start)
    assert token.split('.')[1] not in served.log(start)


def test_no_reason_is_told(served, site):
    with Raw(served.port) as c:
        c.send(connect_packet('c', username='', password=site.es.token(exp=1)))
        p = c.expect(CONNACK)
        assert p.code == NOT_AUTHORIZED and 'reason_string' not in p.props


def test_within_the_skew(served, site):
    for claims in ({'exp': now(-20)}, {'nbf': now(20)}, {'iat': now(20)}, {'exp': now(60) + 0.5}):
        assert answer(served.port, site.es.token(**claims)) == 0


def test_more_leeway(brokers, site):
    b = brokers(site.conf + 'failed_logins_per_minute 0\njwt_leeway 300\n', anonymous=False)
    for claims in ({'exp': now(-200)}, {'nbf': now(200)}, {'iat': now(200)}):
        assert answer(b.port, site.es.token(**claims)) == 0, claims
    for claims in ({'exp': now(-301)}, {'nbf': now(400)}, {'iat': now(400)}):
        assert answer(b.port, site.es.token(**claims)) == NOT_AUTHORIZED, claims


def test_parties(brokers, site):
    b = brokers(site.conf + 'jwt_issuer https://issuer.example\njwt_audience mqtt\n'
                'failed_logins_per_minute 0\njwt_leeway 0\n', anonymous=False)
    good = {'iss': 'https://issuer.example', 'aud': 'mqtt'}
    for claims, code in ((good, 0), ({**good, 'aud': ['x', 'mqtt']}, 0),
                         ({**good, 'aud': ['x']}, 1), ({**good, 'aud': None}, 1),
                         ({**good, 'aud': 'mqtt2'}, 1), ({**good, 'aud': {'mqtt': 1}}, 1),
                         ({**good, 'iss': None}, 1), ({**good, 'iss': 'https://issuer.example/'}, 1),
                         ({**good, 'iss': ['https://issuer.example']}, 1),
                         ({**good, 'exp': now(-1)}, 1), ({**good, 'nbf': now(5)}, 1)):
        assert answer(b.port, site.es.token(**claims)) == (NOT_AUTHORIZED if code else 0), claims
    # anonymous clients and other passwords do not come in here
    assert answer(b.port, 'x', username='dev') == NOT_AUTHORIZED
    with Raw(b.port) as c:
        c.send(connect_packet('c'))
        assert c.expect(CONNACK).code == NOT_AUTHORIZED


def test_claims_by_other_names(brokers, site):
    b = brokers(site.conf + 'jwt_username_claim email\njwt_clientid_claim device\n', anonymous=False)
    token = site.es.token(email='me@example.org', device='dev-7')
    start = b.log_size()
    assert answer(b.port, token, 'dev-7') == 0
    b.wait_log("u'me@example.org'", start)
    for client_id in ('dev-8', '', 'dev-7x'):
        assert answer(b.port, token, client_id) == NOT_AUTHORIZED
    assert answer(b.port, site.es.token(email='me@example.org'), 'dev-7') == NOT_AUTHORIZED


def test_topics(served, site):
    token = site.es.token(mqtt={'publish': ['up/dev/#'], 'subscribe': ['down/+/dev', 'all/#']})
    with Raw(served.port) as c, Raw(served.port) as free:
        c.connect('limited', username='dev', password=token)
        free.connect('free', username='plain', password='secret')
        free.subscribe('up/#', 'other/#')
        got = c.subscribe('down/a/dev', 'all/x', 'other/#', 'down/#', qos=1)
        assert [code < 0x80 for code in got] == [True, True, False, True], got
        c.publish('other/x', b'no')
        c.publish('up/dev/x', b'yes')
        assert free.message().payload == b'yes'
        for topic in ('down/secret/other', 'other/x', 'down/b/dev'):
            free.publish(topic, topic.encode())
        assert c.message().payload == b'down/b/dev'


def test_topics_outlast_a_reload(served, site):
    """What is filtered at delivery goes on being filtered."""
    token = site.es.token(mqtt={'subscribe': ['down/+/dev']})
    with Raw(served.port) as c, Raw(served.port) as free:
        c.connect('limited', username='dev', password=token)
        free.connect('free', username='plain', password='secret')
        assert c.subscribe('down/#', qos=1)[0] < 0x80
        served.reload()
        for topic in ('down/secret/other', 'down/b/dev'):
            free.publish(topic, topic.encode())
        assert c.message().payload == b'down/b/dev'


def test_no_topics_at_all(served, site):
    with Raw(served.port) as c:
        c.connect('nothing', username='dev', password=site.es.token(mqtt={}))
        assert c.subscribe('a')[0] >= 0x80


def auth_connect(token=None, client_id='m', **kw):
    props = {'auth_method': 'JWT'}
    if token is not None:
        props['auth_data'] = token.encode()
    return connect_packet(client_id, props=props, **kw)


def auth_packet(code, token=None):
    props = {'auth_method': 'JWT'}
    if token is not None:
        props['auth_data'] = token.encode()
    return packet(AUTH, 0, bytes([code]) + properties(props))


def test_by_method(served, site):
    with Raw(served.port) as c:
        c.send(auth_connect(site.ed.token()))
        assert c.expect(CONNACK).code == 0
    with Raw(served.port) as c:  # the token in the second step
        c.send(auth_connect())
        assert c.expect(AUTH).code == 0x18
        c.send(auth_packet(0x18, site.ed.token()))
        assert c.expect(CONNACK).code == 0
    for bad in (unsigned(), 'x', '', site.ed.token(exp=1)):
        with Raw(served.port) as c:
            c.send(auth_connect(bad))
            assert c.expect(CONNACK).code == NOT_AUTHORIZED


@paced
def test_its_end_ends_the_connection(served, site, pace):
    """At exp and what clocks may differ: 0x87 to those who understand it."""
    start = served.log_size()
    with Raw(served.port) as five, Raw(served.port, version=4) as four:
        ends = now(-30 + 2 * pace)  # 30 s later it is over
        five.connect('ends-5', username='dev', password=site.es.token(exp=ends), keepalive=0)
        four.connect('ends-4', username='dev', password=site.es.token(exp=ends), keepalive=0)
        assert five.expect(DISCONNECT).code == NOT_AUTHORIZED
        four.closed()
        assert 0 <= time.time() - (ends + 30) < 5 * pace
    served.wait_log('ends-5 disconnected: its token has expired', start)
    served.wait_log('ends-4 disconnected: its token has expired', start)


@paced
def test_the_next_token_in_time(served, site, pace):
    with Raw(served.port) as c:
        ends = now(-30 + pace)
        c.send(auth_connect(site.es.token(exp=ends), 'renews'))
        assert c.expect(CONNACK).code == 0
        c.send(auth_packet(0x19, site.es.token(mqtt={'publish': ['mine']})))
        assert c.expect(AUTH).code == 0
        assert c.subscribe('a')[0] >= 0x80  # the new token's rights
        time.sleep(max(0.0, ends + 30.2 - time.time()))  # the first would be over
        c.ping()
        c.send(auth_packet(0x19, site.es.token(sub='other')))
        assert c.expect(DISCONNECT).code == NOT_AUTHORIZED
    with Raw(served.port) as c:
        c.send(auth_connect(site.es.token(), 'fails'))
        assert c.expect(CONNACK).code == 0
        c.send(auth_packet(0x19, unsigned()))
        assert c.expect(DISCONNECT).code == NOT_AUTHORIZED


def test_reload(brokers, site, base_folder):
    """New keys count, withdrawn ones do not; a broken file leaves the old."""
    folder = conftest.new_folder(base_folder, 'jwt-')
    path = os.path.join(folder, 'keys')

    def keys(*all_of, text=None):
        with open(path, 'w', encoding='ascii') as f:
            f.write(text if text is not None else json.dumps({'keys': [k.jwk() for k in all_of]}))
    keys(site.es)
    b = brokers(f'jwt_key_file {path}\nfailed_logins_per_minute 0\n', anonymous=False)
    assert answer(b.port, site.es.token()) == 0 != answer(b.port, site.ed.token())
    os.chown(path, b.owner(), -1)
    keys(site.ed)
    b.hup()
    wait_until(lambda: answer(b.port, site.ed.token()) == 0, 'the new key counts')
    assert answer(b.port, site.es.token()) == NOT_AUTHORIZED
    for text, why in (('', 'is empty'), ('{"keys": []}', 'no key for signatures'), ('{', 'line 1')):
        keys(text=text)
        start = b.log_size()
        b.hup()
        b.wait_log('Reload failed, everything stays as it was.*' + why, start)
        assert answer(b.port, site.ed.token()) == 0


def even_pem(pem):
    """The same RSA key with the exponent 65536."""
    lines = pem.decode().strip().split('\n')
    der = base64.b64decode(''.join(lines[1:-1]))
    assert der.endswith(b'\x02\x03\x01\x00\x01')
    return '\n'.join([lines[0], base64.b64encode(der[:-1] + b'\x00').decode(), lines[-1]]) + '\n'


def weak():
    return json.dumps({'keys': [Key('RS256', bits=1024).jwk()]})


FILES = {
    'missing': (None, 'cannot open'),
    'empty': ('', 'is empty'),
    'no key': ('hello\n', 'there is no key in it'),
    'no JSON': ('{"keys": [', 'line 1'),
    'no list': ('{"keys": {}}', 'keys.* is no list'),
    'empty list': ('{"keys": []}', 'no key for signatures'),
    'duplicates': ('{"keys": [], "keys": []}', 'line 1'),
    'shared secret': ('{"keys": [{"kty":"oct","k":"c2VjcmV0"}]}', 'secret key'),
    'private key': (lambda: Key('ES256').private_pem().decode(), 'private key'),
    'private JWK': (lambda: json.dumps(Key('EdDSA').jwk(d='abc')), 'secret key'),
    'weak RSA': (weak, 'neither RSA of 2048'),
    'other curve': (lambda: Key('ES256', curve=__import__('cryptography').hazmat.primitives
                                .asymmetric.ec.SECP384R1()).pem().decode(), 'neither RSA'),
    'point off the curve': ('{"kty":"EC","crv":"P-256","x":"' + 'A' * 42 + 'E","y":"' + 'A' * 42
                            + 'E"}', 'cannot be used'),
    'exponent 1': (lambda: json.dumps(Key('RS256').jwk(e='AQ')), 'neither RSA'),
    'even exponent in PEM': (lambda: even_pem(Key('RS256').pem()), 'neither RSA'),
    'only keys for something else': (lambda: json.dumps({'keys': [
        Key('ES256').jwk(key_ops=['encrypt']), Key('ES256').jwk(key_ops='verify'),
        Key('ES256').jwk(use='enc'), {'kty': 'OKP', 'crv': 'X25519', 'x': 'AA'}]}),
        'no key for signatures'),
    'alg of another kind': (lambda: json.dumps(Key('ES256').jwk(alg='RS256')), 'not for its kind'),
    'damaged PEM': (lambda: Key('ES256').pem().decode().replace('MFk', 'MFX'), 'cannot be read|damaged'),
    'cut PEM': (lambda: Key('ES256').pem().decode()[:-30], 'damaged|no key'),
    'two of one kid': (lambda: json.dumps({'keys': [Key('ES256', 'x').jwk(), Key('ES256', 'x').jwk()]}),
                       'same kid'),
}


@pytest.mark.parametrize('how', list(FILES))
def test_key_files_that_are_none(brokers, tmp_path, how):
    text, why = FILES[how]
    path = tmp_path / 'keys'
    if text is not None:
        path.write_text(text if isinstance(text, str) else text())
    b = brokers(f'jwt_key_file {path}\n', anonymous=False, start=False)
    b.refuses(why)
    out = subprocess.run([NIGHTJAR, 'serve', '--test-config', '-c', b.conf_path], check=False,
                         capture_output=True, text=True, timeout=PATIENCE)
    assert out.returncode == 3 and str(path) in out.stderr


def test_roles_of_groups_in_tokens(brokers, site):
    """The groups in a token have the roles of the groups of those names; and
    acl explain says of a token what the broker does."""
    path = site.write('users.json', json.dumps(state(roles=[
        {'rolename': 'r', 'acls': [acl('publishClientSend', 'g/#')]}], groups=[
            {'groupname': 'team', 'roles': [{'rolename': 'r'}]}])).encode(), 0o600)
    b = brokers(site.conf + 'jwt_groups_claim groups\njwt_topics_claim mqtt\n'
                f'dynamic_security_file {path}\n', anonymous=False)
    tokens = {'in': site.es.token(sub='x', groups=['team', 'other']), 'out': site.es.token(sub='x'),
              'less': site.es.token(sub='x', groups=['team'], mqtt={'publish': ['g/1'], 'subscribe': []})}
    want = {'in': (True, True), 'out': (False, False), 'less': (True, False)}
    for name, token in tokens.items():
        with Raw(b.port, version=5) as c:
            c.connect(name, username='', password=token)
            got = tuple(c.publish_acked(t, 'x') < 0x80 for t in ('g/1', 'g/2'))
        assert got == want[name], name
        where = site.write('token-' + name, token.encode(), 0o600)
        for topic, may in zip(('g/1', 'g/2'), want[name]):
            p = subprocess.run([NIGHTJAR, 'acl', 'explain', '-c', b.conf_path, '--token', where, topic],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               check=False, timeout=PATIENCE)
            assert p.returncode == (0 if may else 1), (name, topic, p.stdout)
    where = site.write('token-bad', (tokens['in'][:-8] + 'AAAAAAAA').encode(), 0o600)
    assert subprocess.run([NIGHTJAR, 'acl', 'explain', '-c', b.conf_path, '--token', where, 'g/1'],
                          check=False, capture_output=True, timeout=PATIENCE).returncode == 2
