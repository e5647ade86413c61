# SPDX-License-Identifier: Apache-2.0
"""Topic rules of an acl_file over real sockets: publishing, subscribing,
delivery, wills, retained messages, queues, reload.  Those that are not marked
run against Mosquitto as well."""
import json
import os
import re
import stat
import subprocess
import time

import pytest

from harness import HOST, NIGHTJAR, PATIENCE, REFERENCE, built, free_port, wait_until
from raw import PUBACK, PUBCOMP, PUBREC, PUBREL, SUBACK, Closed, Raw

NOT_AUTHORIZED = 0x87

RULES = '''
topic read public/#
topic deny public/secret
user alice
topic readwrite home/+/light
topic write up
topic read down/#
topic deny down/cellar
user admin
topic #
topic readwrite $SYS/#
pattern readwrite dev/%c/#
pattern read user/%u
'''


class Rules:
    """A broker with an acl_file that can be written again."""

    def __init__(self, brokers, folder, text, conf=''):
        self.path = os.path.join(folder, 'acl')
        self.write(text)
        self.broker = brokers(f'acl_file {self.path}\n{conf}')

    def write(self, text):
        with open(self.path, 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(self.path, 0o600)

    def reload(self, text, says='Reload' if REFERENCE else r'Reloaded\.'):
        self.write(text)
        start = self.broker.log_size()
        self.broker.hup()
        self.broker.wait_log(says, start)

    def client(self, client_id, user=None, version=5, **kw):
        c = Raw(self.broker.port, version=version)
        c.connect(client_id, username=user, **kw)
        return c


@pytest.fixture
def rules(brokers, tmp_path):
    return Rules(brokers, str(tmp_path), RULES)


@pytest.fixture
def admin(rules):
    with rules.client('admin', 'admin') as c:
        yield c


def got(client, least=0):
    """Payloads, at least so many, until it is silent."""
    return [m.payload for m in client.gather(least, 0.3)]


@pytest.mark.parametrize('user, client_id, topic, may', [
    ('alice', 'c', 'home/hall/light', True), ('alice', 'c', 'home/hall', False),
    ('alice', 'c', 'up', True), ('alice', 'c', 'down/x', False),
    ('alice', 'c', 'dev/c/x', True), ('alice', 'c', 'dev/d/x', False),
    (None, 'c', 'public/x', False), (None, 'c', 'dev/c', True),
    ('alice', 'c', 'user/alice', False), ('admin', 'c', 'any/thing', True),
    ('alice', '+', 'dev/c/x', False), ('alice', '#', 'dev/c/x', False),
    ('nobody', 'c', 'up', False)])
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_publish(rules, admin, user, client_id, topic, may, qos):
    """A refused message reaches nobody, and an MQTT 5 client is told."""
    admin.subscribe('#')
    with rules.client(client_id, user) as c:
        code = c.publish_acked(topic, b'x', qos)
        if qos:
            assert code == (0 if may else NOT_AUTHORIZED)
        c.ping()
    admin.ping()
    assert got(admin, may) == ([b'x'] if may else [])


@pytest.mark.parametrize('version', [4, 3])
@pytest.mark.parametrize('qos', [1, 2])
def test_older_clients_are_acknowledged(rules, admin, version, qos):
    """They have no code for it (3.3.5 of 3.1.1)."""
    admin.subscribe('#')
    with rules.client('c', 'alice', version=version) as c:
        c.publish_acked('nowhere', b'x', qos)
        c.publish_acked('up', b'y', qos)
    assert got(admin, 1) == [b'y']


def test_delivery_is_filtered(rules, admin):
    """A wider subscription brings what may be read."""
    with rules.client('c', 'alice') as c:
        c.subscribe('#')
        for topic in ('down/a', 'down/cellar', 'up', 'home/a/light', 'dev/c/1', 'dev/d/1',
                      'user/alice', 'user/bob'):
            admin.publish_acked(topic, topic.encode())
        assert got(c, 4) == [b'down/a', b'home/a/light', b'dev/c/1', b'user/alice']


@pytest.mark.ours
def test_subscriptions_that_bring_nothing(rules):
    """are refused, each for itself; those that may bring something are not."""
    with rules.client('c', 'alice') as c:
        assert c.subscribe('up', '#', 'secret/#', 'down/cellar', 'down/+', 'dev/+', 'dev/d/#',
                           '$share/g/secret/x', '$share/g/down/x') == \
            [0x87, 0, 0x87, 0x87, 0, 0, 0x87, 0x87, 0]
    with rules.client('d', 'alice', version=4) as c:
        assert c.subscribe('up', 'down/x') == [0x80, 0]
    rules.broker.wait_log(r"Subscribe of c to 'down/cellar' refused: .*acl line 8: "
                          'topic deny down/cellar')


@pytest.mark.ours
def test_mosquittos_way(brokers, tmp_path):
    """acl_deny_subscribe false: granted, and nothing comes."""
    rules = Rules(brokers, str(tmp_path), RULES, 'acl_deny_subscribe false\n')
    with rules.client('c', 'alice') as c, rules.client('a', 'admin') as admin:
        assert c.subscribe('secret', 'down/cellar') == [0, 0]
        admin.publish_acked('secret', b'x')
        admin.publish_acked('down/cellar', b'x')
        assert got(c) == []


def test_retained(rules, admin):
    admin.publish_acked('down/a', b'1', retain=True)
    admin.publish_acked('down/cellar', b'2', retain=True)
    admin.publish_acked('secret', b'3', retain=True)
    with rules.client('c', 'alice') as c:
        c.subscribe('#')
        assert got(c, 1) == [b'1']


@pytest.mark.ours
def test_shared(rules, admin):
    """Who may not read a message leaves it to another member."""
    with rules.client('c', 'alice') as c, rules.client('a', 'admin') as other:
        assert c.subscribe('$share/g/down/+') == [0]
        assert other.subscribe('$share/g/down/+') == [0]
        for _ in range(6):
            admin.publish_acked('down/cellar', b'x')
        assert got(other, 6) == [b'x'] * 6
        assert got(c) == []


@pytest.mark.ours
def test_will(rules, admin):
    """Refused when it is left (a will that could never be sent)."""
    admin.subscribe('#')
    with Raw(rules.broker.port) as c:
        c.connect('c', want=NOT_AUTHORIZED, username='alice', will=('secret', b'x'))
    with rules.client('c', 'alice', will=('up', b'will')):
        pass
    assert got(admin, 1) == [b'will']


def test_dollar_topics(rules):
    """A rule that begins with a wildcard is not for them."""
    with rules.client('a', 'admin') as admin, rules.client('c', 'alice') as c:
        admin.subscribe('$SYS/#')
        assert admin.message().topic.startswith('$SYS/')
        c.subscribe('$SYS/#')
        assert got(c) == []


def test_reload_takes_effect_at_once(rules, admin):
    """On live subscriptions, on what is queued, and on publishing."""
    with rules.client('away', 'alice', clean=False, props={'session_expiry': 100}) as away:
        away.subscribe('down/#', qos=1)
    with rules.client('c', 'alice') as c:
        c.subscribe('down/#')
        admin.publish_acked('down/a', b'before')
        assert c.message().payload == b'before'
        rules.reload('user admin\ntopic #\nuser alice\ntopic read down/b\n')
        admin.publish_acked('down/a', b'denied')
        admin.publish_acked('down/b', b'allowed')
        assert got(c, 1) == [b'allowed']
        assert c.publish_acked('up', b'x', 1) == NOT_AUTHORIZED
        rules.reload('user admin\ntopic #\nuser alice\ntopic read down/#\n')
        admin.publish_acked('down/a', b'again')
        assert got(c, 1) == [b'again']
    rules.reload('user admin\ntopic #\nuser alice\ntopic read down/b\n')
    with rules.client('away', 'alice', clean=False, props={'session_expiry': 100}) as away:
        assert got(away, 1) == [b'allowed']


@pytest.mark.ours
@pytest.mark.parametrize('late', [False, True])
def test_who_connects_after_the_signal_has_the_new_rules(brokers, tmp_path, monkeypatch, late):
    """Without waiting for the reload, as other brokers' scripts do it; it waits for up to a
    second, also for a thread that has the signal and does not come to serve it."""
    if late:
        monkeypatch.setenv('LD_PRELOAD', built('tests', 'blackbox', 'liblatesignal.so'))
        monkeypatch.setenv('ASAN_OPTIONS', os.environ.get('ASAN_OPTIONS', '') + ':verify_asan_link_order=0')
    rules = Rules(brokers, str(tmp_path), RULES)
    monkeypatch.delenv('LD_PRELOAD', raising=False)
    for i in range(6):
        rules.write(f'topic read room/{i % 2}\n')
        start, began = rules.broker.log_size(), time.monotonic()
        rules.broker.hup()
        with rules.client(f'c{i}') as c:
            held = time.monotonic() - began
            codes = list(c.subscribe(f'room/{i % 2}', f'room/{1 - i % 2}'))
            assert codes == [0, NOT_AUTHORIZED] or held >= 1, held
        # the next file is written when nobody reads this one
        rules.broker.wait_log(r'Reloaded\.', start)


@pytest.mark.ours
def test_bad_file_keeps_the_old_rules(rules, admin):
    rules.reload('topic rw x\n', says=r'acl:1:7: not a kind of access')
    with rules.client('c', 'alice') as c:
        assert c.publish_acked('secret', b'x', 1) == NOT_AUTHORIZED
        assert c.publish_acked('up', b'x', 1) in (0, 0x10)
    admin.ping()


def refused(path):
    """What a broker says that does not start with this file."""
    conf = path + '.conf'
    with open(conf, 'w', encoding='utf-8') as f:
        f.write(f'listener {free_port()} {HOST}\nallow_anonymous true\nacl_file {path}\n')
    p = subprocess.run([NIGHTJAR, 'serve', '-c', conf], stdout=subprocess.PIPE, text=True,
                       stderr=subprocess.STDOUT, check=False, timeout=PATIENCE)
    assert p.returncode in (1, 3)
    return p.stdout


@pytest.mark.ours
@pytest.mark.parametrize('text, says', [('nonsense\n', 'not known here'),
                                        ('topic read a#\n', 'not a topic filter')])
def test_bad_file_refuses_the_start(tmp_path, text, says):
    path = os.path.join(str(tmp_path), 'acl')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
    assert says in refused(path)


@pytest.mark.ours
def test_missing_file_refuses_the_start(tmp_path):
    assert 'cannot open' in refused(os.path.join(str(tmp_path), 'none'))


@pytest.mark.skipif(REFERENCE, reason='says it otherwise')
def test_denial_names_the_rule(rules):
    with rules.client('c', 'alice') as c:
        c.publish_acked('down/cellar', b'x', 1)
        c.publish_acked('zzz', b'x', 1)
    wait_until(lambda: 'no rule of the acl_file allows it' in rules.broker.log(), 'the log')
    assert re.search(r"Publish of c to 'down/cellar' refused: .*acl line 8: topic deny down/cellar",
                     rules.broker.log())


@pytest.mark.ours
def test_names_that_nobody_proves_are_warned_about(rules):
    rules.broker.wait_log('nothing proves user names')


def test_listeners_have_their_own(brokers, tmp_path):
    """per_listener_settings"""
    paths = []
    for n, text in enumerate(('topic a\n', 'topic b\n')):
        paths.append(os.path.join(str(tmp_path), f'acl{n}'))
        with open(paths[-1], 'w', encoding='utf-8') as f:
            f.write(text)
        os.chmod(paths[-1], 0o600)
    ports = [free_port(), free_port()]
    brokers('per_listener_settings true\n' + ''.join(
        f'listener {port} {HOST}\nallow_anonymous true\nacl_file {path}\n'
        for port, path in zip(ports, paths)), port=ports[0], extra_ports=ports[1:],
        listener=False, anonymous=False)
    with Raw(ports[0]) as a, Raw(ports[1]) as b:
        a.connect('a')
        b.connect('b')
        assert a.publish_acked('a', b'x', 1) != NOT_AUTHORIZED
        assert a.publish_acked('b', b'x', 1) == NOT_AUTHORIZED
        assert b.publish_acked('b', b'x', 1) != NOT_AUTHORIZED
        assert b.publish_acked('a', b'x', 1) == NOT_AUTHORIZED


def test_qos2_finished_after_the_right_is_gone(rules, admin):
    """A message is decided about once, when it comes."""
    admin.subscribe('up', qos=0)
    with rules.client('c', 'alice') as c:
        mid = c.publish('up', b'x', 2)
        assert c.wait_for(PUBREC).mid == mid
        rules.reload('user admin\ntopic #\n')
        c.ack(PUBREL, mid)
        assert c.wait_for(PUBCOMP).mid == mid
        assert c.publish_acked('up', b'y', 1) == NOT_AUTHORIZED
    assert got(admin) in ([b'x'], [])


OURS = """
user admin
topic #
group ops
member alice
topic readwrite ops/#
address 127.0.0.2
topic readwrite near/#
listener 1
topic readwrite port/#
user bob
topic readwrite b/#
topic readdeny b/secret/#
topic writedeny b/locked/#
"""


@pytest.mark.ours
def test_groups_and_addresses(brokers, tmp_path):
    rules = Rules(brokers, str(tmp_path), OURS)
    with rules.client('a', 'alice') as a:
        assert a.publish_acked('ops/x', b'x', 1) in (0, 0x10)
        assert a.publish_acked('near/x', b'x', 1) == NOT_AUTHORIZED
        assert a.publish_acked('port/x', b'x', 1) == NOT_AUTHORIZED
        rules.reload(OURS.replace('127.0.0.2', '127.0.0.0/8').replace(
            'listener 1\n', f'listener {rules.broker.port}\n'))
        assert a.publish_acked('near/x', b'x', 1) in (0, 0x10)
        assert a.publish_acked('port/x', b'x', 1) in (0, 0x10)
        rules.reload(OURS.replace('member alice\n', ''))
        assert a.publish_acked('ops/x', b'x', 1) == NOT_AUTHORIZED
    with rules.client('b', 'bob') as b:
        assert b.publish_acked('b/x', b'x', 1) in (0, 0x10)
        assert b.publish_acked('b/locked/x', b'x', 1) == NOT_AUTHORIZED
        assert b.publish_acked('b/secret/x', b'x', 1) in (0, 0x10)
        assert b.subscribe('b/#', 'b/secret/#', 'b/locked/#') == [0, NOT_AUTHORIZED, 0]


@pytest.mark.ours
@pytest.mark.parametrize('check', ['', 'check_retain_source false\n'])
def test_retained_by_who_may_no_longer(brokers, tmp_path, check):
    """Who stored a message is remembered, and asked about again; also of a
    will."""
    text = 'user admin\ntopic #\nuser alice\ntopic a/#\nuser bob\ntopic a/#\n'
    rules = Rules(brokers, str(tmp_path), text, check)
    with rules.client('c', 'alice', will=('a/will', b'3', 1, True)) as c:
        c.publish_acked('a/1', b'1', 1, retain=True)
    with rules.client('d', 'bob') as c:
        c.publish_acked('a/2', b'2', 1, retain=True)
    with rules.client('x', 'admin') as x:
        x.subscribe('a/#')
        assert sorted(got(x, 3)) == [b'1', b'2', b'3']
    rules.reload(text.replace('user alice\ntopic a/#\n', 'user alice\ntopic b/#\n'))
    with rules.client('x', 'admin') as x:
        x.subscribe('a/#')
        assert sorted(got(x, 3 if check else 1)) == ([b'1', b'2', b'3'] if check else [b'2'])
    rules.reload(text)
    with rules.client('x', 'admin') as x:
        x.subscribe('a/#')
        assert sorted(got(x, 3)) == [b'1', b'2', b'3']


@pytest.mark.ours
def test_who_retained_it_outlives_the_process(brokers, tmp_path):
    text = 'user admin\ntopic #\nuser alice\ntopic a/#\n'
    rules = Rules(brokers, str(tmp_path), text, f'persistence true\npersistence_location {tmp_path}\n')
    with rules.client('c', 'alice') as c:
        c.publish_acked('a/1', b'1', 1, retain=True)
        c.publish_acked('a/p', b'2', 1, retain=True, props={'user_property': ('k', 'v')})
    assert rules.broker.stop() == 0
    rules.broker.start()
    with rules.client('x', 'admin') as x:
        x.subscribe('a/#')
        messages = sorted([x.message(), x.message()], key=lambda m: m.payload)
        assert [m.payload for m in messages] == [b'1', b'2']
        assert messages[0].props == {}
        assert messages[1].props == {'user_property': [('k', 'v')]}
    rules.reload('user admin\ntopic #\n')
    with rules.client('x', 'admin') as x:
        x.subscribe('a/#')
        assert got(x) == []


@pytest.mark.ours
@pytest.mark.parametrize('version', [4, 3])
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_older_clients_may_be_disconnected(brokers, tmp_path, version, qos):
    rules = Rules(brokers, str(tmp_path), RULES, 'acl_deny_disconnect true\n')
    with rules.client('c', 'alice', version=version) as c:
        c.publish('nowhere', b'x', qos)
        with pytest.raises(Closed):
            c.recv()
    with rules.client('d', 'alice') as c:
        assert c.publish_acked('nowhere', b'x', 1) == NOT_AUTHORIZED
        c.ping()


@pytest.mark.ours
def test_reason_string(rules):
    """What MQTT 5 clients are told, unless they do not want to know or it does
    not fit; it names no rule."""
    with rules.client('c', 'alice') as c:
        c.publish('nowhere', b'x', 1)
        p = c.wait_for(PUBACK)
        assert p.code == NOT_AUTHORIZED and 'publish here' in p.props['reason_string']
        c.publish('nowhere', b'x', 2)
        p = c.wait_for(PUBREC)
        assert p.code == NOT_AUTHORIZED and 'line' not in p.props['reason_string']
        c.send_subscribe('secret', '#')
        p = c.wait_for(SUBACK)
        assert p.codes == [NOT_AUTHORIZED, 0]
        assert 'refused filter' in p.props['reason_string']
    for props in ({'request_problem': 0}, {'maximum_packet_size': 40}):
        with rules.client('d', 'alice', props=props) as c:
            c.publish('nowhere', b'x', 1)
            p = c.wait_for(PUBACK)
            assert p.code == NOT_AUTHORIZED and p.props == {}
            c.send_subscribe('secret')
            p = c.wait_for(SUBACK)
            assert p.codes == [NOT_AUTHORIZED] and p.props == {}


@pytest.mark.ours
def test_denials_are_logged_once(rules):
    """A minute, for each client, topic and action."""
    with rules.client('c', 'alice') as c, rules.client('d', 'alice') as d:
        for _ in range(5):
            c.publish_acked('zzz', b'x', 1)
            c.subscribe('zzz')
        c.publish_acked('yyy', b'x', 1)
        d.publish_acked('zzz', b'x', 1)
    rules.broker.wait_log("Publish of d to 'zzz' refused")
    log = rules.broker.log()
    assert log.count("Publish of c to 'zzz' refused") == 1
    assert log.count("Subscribe of c to 'zzz' refused") == 1
    assert log.count("Publish of c to 'yyy' refused") == 1


def explain(*args):
    p = subprocess.run([NIGHTJAR, 'acl', 'explain', *args], stdout=subprocess.PIPE, text=True,
                       stderr=subprocess.STDOUT, check=False, timeout=PATIENCE)
    return p.returncode, p.stdout


EXPLAINED = [
    (('-u', 'alice', 'up'), 0, 'line 6: topic write up'),
    (('-u', 'alice', 'down/cellar', '-a', 'receive'), 1, 'line 8: topic deny down/cellar'),
    (('-u', 'alice', '-i', 'c', 'dev/c/x'), 0, 'pattern readwrite dev/%c/#'),
    (('nowhere',), 1, 'no rule of the acl_file allows it'),
    (('-u', 'alice', '-a', 'subscribe', 'down/#'), 0, 'down/#'),
    (('--user', 'alice', '--action', 'publish', 'down/x'), 1, 'no rule'),
    (('--user', 'alice', '--action', 'receive', 'down/x'), 0, 'topic read down/#'),
    (('--user', 'alice', '--action=subscribe', 'down/x'), 0, 'topic read down/#'),
    (('-u', 'alice', '-a', 'subscribe', '$share/g/secret/#'), 1, 'no rule'),
    (('$SYS/x', '-u', 'admin'), 1, 'written by the broker'),
    (('-u', 'x', '--group', 'g', 'grouped'), 0, 'topic readwrite grouped'),
    (('-u', 'x', '--address', '192.0.2.7', 'placed'), 0, 'pattern write placed'),
    (('-u', 'x', '--address', '192.0.2.8', 'placed'), 1, 'no rule'),
]


@pytest.mark.ours
def test_explain(brokers, tmp_path):
    """The same rule is named by the files and by a running broker."""
    rules = Rules(brokers, str(tmp_path), RULES + 'group g\ntopic grouped\naddress 192.0.2.7\n'
                  'pattern write placed\n', f'admin_socket {tmp_path}/a.sock\n')
    conf = rules.broker.conf_path
    for args, status, rule in EXPLAINED:
        for where in (('--acl-file', rules.path), ('-c', conf), ('-c', conf, '--live')):
            code, out = explain(*where, *args)
            assert (code, rule in out) == (status, True), (where, args, out)
    for bad in (('a/#',), ('-a', 'subscribe', 'a#'), ('--address', 'x', 'a'), ('-a', 'x', 'a'),
                ('--action', 'write', 'a'), ('--action',), ('--listener', '1', 'a'), (), ('--acl-file', '/none', 'a')):
        assert explain('-c', conf, *bad)[0] == 2, bad
        assert explain('-c', conf, '--live', *bad)[0] == 2, bad
    with rules.client('c', 'alice'):
        code, out = explain('-c', conf, '--live', '-i', 'c', 'up')
        assert (code, "user 'alice' may publish to 'up'" in out) == (0, True), out
        code, out = explain('-c', conf, '--live', '-i', 'c', '--json', 'dev/d')
        answer = json.loads(out)
        assert code == 1 and answer['connected_client'] and not answer['allowed']


@pytest.mark.ours
def test_session_that_comes_back_elsewhere(brokers, tmp_path):
    """What it subscribed to where it may read is not delivered where it may
    not; nor what waited for it."""
    ports = [free_port(), free_port()]
    path = os.path.join(str(tmp_path), 'acl')
    with open(path, 'w', encoding='utf-8') as f:
        f.write(f'user admin\ntopic #\nuser bob\nlistener {ports[0]}\ntopic read a/#\n')
    os.chmod(path, 0o600)
    brokers(''.join(f'listener {p} {HOST}\n' for p in ports) + f'allow_anonymous true\nacl_file {path}\n',
            port=ports[0], extra_ports=ports[1:], listener=False, anonymous=False)
    kept = {'clean': False, 'props': {'session_expiry': 60}, 'username': 'bob'}
    with Raw(ports[0]) as admin:
        admin.connect('admin', username='admin')
        with Raw(ports[0]) as c:
            c.connect('c', **kept)
            assert c.subscribe('a/#', qos=1) == [1]
            c.disconnect()
        admin.publish_acked('a/1', b'1', 1)
        with Raw(ports[1]) as c:
            c.connect('c', **kept)
            admin.publish_acked('a/2', b'2', 1)
            assert got(c) == []
            c.disconnect()
        with Raw(ports[0]) as c:
            c.connect('c', **kept)
            admin.publish_acked('a/3', b'3', 1)
            while c.message().payload != b'3':
                pass
            assert got(c) == []
