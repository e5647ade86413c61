# SPDX-License-Identifier: Apache-2.0
"""MQTT.js in a real Chromium: it connects over wss where the CA is trusted and
its page's origin may, and nowhere else."""
import pytest

import browser
import pahoc
import passwords
from wsraw import RawWs

SCRIPT = '''
const c = mqtt.connect("wss://localhost:%d", {protocolVersion: %d, reconnectPeriod: 0, %s});
c.on("connect", () => c.subscribe("%s", {qos: 1}, (e, granted) => {
    tell("subscribed", granted[0].qos);
    c.publish("%s", "from a page", {qos: 2});
}));
c.on("message", (t, m) => { tell("message", t, m.toString()); c.end(); });
c.on("error", e => tell("failed", String(e.message || e)));
c.on("close", () => tell("closed"));
'''


@pytest.fixture
def chromium():
    c = browser.Chromium()
    yield c
    c.close()


@pytest.fixture
def secure(brokers, pki):
    def start(more='', **kw):
        return brokers(f'protocol websockets\ncertfile {pki.server[0]}\nkeyfile {pki.server[1]}\n'
                       + more, **kw)
    return start


def script(broker, topic, version=5, options=''):
    return SCRIPT % (broker.port, version, options, topic, topic)


@pytest.mark.parametrize('version', [4, 5])
def test_page_sends_and_receives(chromium, secure, pki, topic, version):
    chromium.trust(pki.ca)
    b = secure(f'websockets_origin http://localhost:{chromium.pages.port}\n')
    with chromium.open(script(b, topic, version)) as page:
        seen = page.wait('closed')
    assert ['subscribed', 1] in seen and ['message', topic, 'from a page'] in seen, seen
    b.wait_log(rf'\(p{5 if version == 5 else 2}, c1, k60\)')


def test_ca_is_not_trusted(chromium, secure, topic):
    b = secure()
    with chromium.open(script(b, topic)) as page:
        seen = page.wait('closed')
    assert not [x for x in seen if x[0] in ('subscribed', 'message')], seen
    b.wait_log(r'TLS handshake failed: .*(unknown CA|does not trust|certificate)')


def test_origin_is_not_allowed(chromium, secure, pki, topic):
    """The same page by another name of this machine is another origin."""
    chromium.trust(pki.ca)
    b = secure(f'websockets_origin http://localhost:{chromium.pages.port}\n')
    with chromium.open(script(b, topic), host='127.0.0.1') as page:
        seen = page.wait('closed')
    assert not [x for x in seen if x[0] in ('subscribed', 'message')], seen
    b.wait_log(rf'Origin http://127\.0\.0\.1:{chromium.pages.port} is not allowed')


def test_certificate_or_password(chromium, brokers, pki, topic, tmp_path):
    """Chromium would give up a WebSocket that asks for a certificate."""
    chromium.trust(pki.ca)
    users = tmp_path / 'users'
    users.write_text(passwords.pbkdf2('page', 'secret'))
    b = brokers(f'protocol websockets\ncertfile {pki.server[0]}\nkeyfile {pki.server[1]}\n'
                f'cafile {pki.ca}\nuse_identity_as_username true\ncertificate_or_password true\n'
                f'password_file {users}\n', anonymous=False)
    with chromium.open(script(b, topic, options='username: "page", password: "secret"')) as page:
        seen = page.wait('closed')
    assert ['message', topic, 'from a page'] in seen, seen
    with chromium.open(script(b, topic, options='username: "page", password: "wrong"')) as page:
        assert 'Not authorized' in str(page.wait('failed')) or 'password' in str(page.told.queue)
    # a program shows its own
    with RawWs(b.port, tls=pahoc.tls_context(pki.ca, *pki.client)) as c:
        c.connect('by-certificate')
    b.wait_log(r"by-certificate .*u'alice'")


def test_one_port_for_both(chromium, brokers, pki, topic):
    """Chromium offers http/1.1 by ALPN."""
    chromium.trust(pki.ca)
    b = brokers(f'protocol mqtt+websockets\ncertfile {pki.server[0]}\nkeyfile {pki.server[1]}\n')
    with chromium.open(script(b, topic)) as page:
        seen = page.wait('closed')
    assert ['message', topic, 'from a page'] in seen, seen
