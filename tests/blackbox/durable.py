# SPDX-License-Identifier: Apache-2.0
"""A broker that keeps what it acknowledges, its end, and clients that come again."""
import contextlib
import os
import time

from harness import wait_until
from raw import Raw

CONF = '''
persistence true
persistence_location store
max_queued_messages 0
'''
ESTABLISHED, CLOSE_WAIT = '01', '08'	# of /proc/net/tcp
FOREVER = {'session_expiry': 0xffffffff}


def unread(pid, ports):
    """Bytes to these ports that the process has not read, and ends of connections
    that it has not seen."""
    left = 0
    with open(f'/proc/{pid}/net/tcp', encoding='ascii') as f:
        for row in list(f)[1:]:
            local, state, queues = row.split()[1], row.split()[3], row.split()[4]
            if int(local.split(':')[1], 16) in ports and state in (ESTABLISHED, CLOSE_WAIT):
                left += (state == CLOSE_WAIT) + int(queues.split(':')[1], 16)
    return left


def at_rest(pid):
    """Whether all its threads sleep: each slept when this looked first, and has not been
    woken until it looked again, so that there was a moment in which all of them did."""
    def threads():
        found = {}
        for task in os.listdir(f'/proc/{pid}/task'):
            with contextlib.suppress(OSError), \
                    open(f'/proc/{pid}/task/{task}/status', encoding='ascii') as f:
                rows = dict(row.rstrip('\n').split(':\t', 1) for row in f)
                found[task] = rows['State'][0], rows['voluntary_ctxt_switches']
        return found
    before = threads()
    return all(state == 'S' for state, _ in before.values()) and threads() == before


def on_disk(broker):
    """What it was told and does not answer (PUBCOMP, DISCONNECT, an end) is on disk
    soon, but not at once: when this returns it has been read, whoever read it has done
    with it, and what was told later is there."""
    wait_until(lambda: not unread(broker.pid, broker.ports) and at_rest(broker.pid),
               'it has done what it was told')
    with client(broker, 'last-of-all', clean=True) as c:
        c.disconnect()


def again(broker, pause=None):
    """The broker is killed, and comes back, after so long; when it is not said, when
    what it was told is on disk."""
    if pause is None:
        on_disk(broker)
    else:
        time.sleep(pause)
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
