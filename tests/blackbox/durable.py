# SPDX-License-Identifier: Apache-2.0
"""A broker that keeps what it acknowledges, its end, and clients that come again."""
import time

from raw import Raw

CONF = '''
persistence true
persistence_location store
max_queued_messages 0
'''
FOREVER = {'session_expiry': 0xffffffff}


def again(broker, pause=None):
    """The broker is killed, and comes back.  What it was told and does not
    answer (PUBCOMP, DISCONNECT) is on disk soon, but not at once: by then, when
    it is not said, what was told later is there."""
    time.sleep(0.1 if pause is None else pause)
    if pause is None:
        client(broker, 'later', clean=True).close()
    broker.kill()
    broker.start()


def client(broker, name, clean=False, expiry=FOREVER['session_expiry'], receive_maximum=65535, **kw):
    """One whose session outlives it; c.session_present: it was there."""
    c = Raw(broker.port)
    props = {'session_expiry': expiry, 'receive_maximum': receive_maximum}
    c.session_present = c.connect(name, clean=clean, props=props, **kw).session_present
    return c


def numbers(c, n):
    return [int(c.message().payload) for _ in range(n)]
