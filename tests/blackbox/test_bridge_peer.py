# SPDX-License-Identifier: Apache-2.0
"""Debian's mosquitto as a bridge to the broker: in each of the ways in which
its configuration lets it say that it is one, or keep it to itself."""
import subprocess

import pytest

import harness
from harness import wait_until
from raw import Raw

WAYS = {
    'says it is one': '',
    'keeps it to itself': 'try_private false\n',
    'MQTT 5': 'bridge_protocol_version mqttv50\n',
}
CONF = '''listener {port} 127.0.0.1
allow_anonymous true
user root
connection edge
address 127.0.0.1:{to}
remote_clientid edge.b
restart_timeout 1
{way}topic # both 1 here/ there/
'''


@pytest.mark.parametrize('way', WAYS)
def test_mosquitto_bridges_to_it(brokers, tmp_path, way):
    if not harness.MOSQUITTO:
        pytest.skip('Mosquitto: the broker is not there')
    b = brokers()
    port = harness.free_port()
    conf = tmp_path / 'm.conf'
    conf.write_text(CONF.format(port=port, to=b.port, way=WAYS[way]))
    with Raw(b.port) as watcher, open(tmp_path / 'm.log', 'wb') as log:
        watcher.connect('watcher')
        watcher.subscribe('$SYS/broker/connection/#', 'there/#', qos=1)
        edge = subprocess.Popen([harness.MOSQUITTO, '-v', '-c', str(conf)], stdout=log, stderr=log)
        try:
            m = watcher.message()
            assert (m.topic, m.payload) == ('$SYS/broker/connection/edge.b/state', b'1')
            # said when it is there; its subscription may take a moment more
            wait_until(lambda: b'Received SUBACK' in (tmp_path / 'm.log').read_bytes(), 'the bridge subscribes')
            with Raw(port, version=4) as local:
                local.connect('local')
                local.subscribe('here/#', qos=1)
                local.publish_acked('here/up', 'up')
                m = watcher.message()
                assert (m.topic, m.payload) == ('there/up', b'up')
                # without the bit or MQTT 5's No Local it gets its own back
                times = 2 if way == 'keeps it to itself' else 1
                assert [local.message().payload for _ in range(times)] == [b'up'] * times
                with Raw(b.port) as other:
                    other.connect('other')
                    other.publish_acked('there/down', 'down', retain=True)
                m = local.message()
                assert (m.topic, m.payload) == ('here/down', b'down')
                local.silent(0.3)
            with Raw(port, version=4) as late:
                late.connect('late')
                late.subscribe('here/#', qos=1)
                if way == 'keeps it to itself':  # nobody told it that the message is kept
                    late.silent(0.3)
                else:
                    assert late.message().retain
        finally:
            edge.kill()
            edge.wait()
        assert watcher.message().topic == 'there/down'
        assert watcher.message().payload == b'0'
