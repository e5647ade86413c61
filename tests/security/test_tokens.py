# SPDX-License-Identifier: Apache-2.0
"""Case 56: tokens for enrolment that are used again, by several at once, or for
another name: of all of them one has a certificate.  By EST (HTTPS) and by MQTT
over TLS."""
from concurrent.futures import ThreadPoolExecutor

import pytest

import test_enrol
import test_enrol_mqtt

pytestmark = pytest.mark.ours


class Https:
    """EST; each request is (status)."""

    def __init__(self, base):
        self.site = test_enrol.Site(base)

    def token(self, name):
        return self.site.token(name)

    def request(self, name):
        return self.site.csr(f'/CN={name}')[0]

    def ask(self, token, request, user=''):
        return self.site.enroll(token, request, user=user)[0]


class Mqtt:
    """The same by PUBLISH."""

    def __init__(self, base):
        self.site = test_enrol_mqtt.MqttSite(base)

    def token(self, name):
        return self.site.text(name)

    def request(self, name):
        return name, self.site.pem(f'/CN={name}')[0]

    def ask(self, token, request, user=''):
        name, pem = request
        with self.site.bare() as c:
            c.connect(username=user or name, password=token)
            return test_enrol_mqtt.ask(c, 'simpleenroll', pem)[1]


@pytest.fixture(scope='module', params=[Https, Mqtt], ids=['https', 'mqtt'])
def way(request, base_folder):
    w = request.param(base_folder)
    yield w
    w.site.factory.finish()


def listed(way, name):
    return way.site.ca('list').count(name)


def test_case_56_replay(way):
    """Who has seen a token that was used gets nothing by it, with whatever
    key; whose it was may fetch the same again."""
    token, mine = way.token('replayed'), way.request('replayed')
    assert way.ask(token, mine) == 200
    for _ in range(3):
        assert way.ask(token, way.request('replayed')) == 401
    assert way.ask(token, mine) == 200
    assert listed(way, 'replayed') == 1


def test_case_56_race(way):
    """Eight at once: one winner, and it stays the winner."""
    token = way.token('raced')
    requests = [way.request('raced') for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda r: way.ask(token, r), requests))
    assert sorted(got) == [200] + [401] * 7
    assert [way.ask(token, r) for r in requests] == got
    assert listed(way, 'raced') == 1


def test_case_56_wrong_id(way):
    """A token is for its name: with another one it brings nothing, and is not
    used up by the attempt."""
    token, other = way.token('named'), way.token('othername')
    assert way.ask(token, way.request('admin'), user='named') >= 400
    assert way.ask(other, way.request('named'), user='othername') >= 400
    assert listed(way, 'admin') == 0 and listed(way, 'named') == 0
    assert way.ask(token, way.request('named')) == 200
    assert listed(way, 'named') == 1
