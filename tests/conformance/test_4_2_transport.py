# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 4.2: network connections."""
import pytest

from clauses import clause
from raw import CONNACK, PINGRESP, Raw, connect_packet


@clause('MQTT-4.2-1', 'MQTT-3.12.4-1')
@pytest.mark.parametrize('version', [5, 4, 3])
def test_an_ordered_lossless_stream(broker, version):
    """TCP: bytes one at a time make the same packets as bytes in one write."""
    with Raw(broker.port, version=version) as c:
        for byte in connect_packet('bytes', version) + b'\xc0\x00':
            c.send(bytes([byte]))
        assert c.expect(CONNACK).code == 0
        pong = c.expect(PINGRESP)
        assert (pong.flags, pong.body) == (0, b'')
