#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Kills a broker with SIGKILL at random moments while clients are busy, starts
it again on the same store, and checks that it kept every promise.

  tests/crash/crash.py [--kills N] [--seeds A-B] [--shards 1,2,4] [--jobs N]
      [--broker FILE] [--keep DIR] [--how HOW] [--tls]

Each seed is one store with a number of shards; --kills are shared out among
them.  The long run:  tests/crash/crash.py --kills 3000 --seeds 1-24
The broker is --broker, $NIGHTJAR, or the one built in $NJ_BUILD; Debian's
mosquitto with its most durable setting shows what losing looks like:
tests/crash/crash.py --broker /usr/sbin/mosquitto"""
import argparse
import multiprocessing
import os
import random
import select
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), 'blackbox')]
# pylint: disable=wrong-import-position
import certs
import harness
from actors import (MS, SECOND, Churner, Deaf, Expirer, Inspector, Keeper, Publisher, Receiver, Watcher,
                    Willing)
from ledger import OPEN, Inbox, Interval, Ledger
from raw import PUBACK

# A broker that is silent for so long has stopped.
PATIENCE = 20.0
# What all sessions may be owed together before publishers pause.
BACKLOG = 20000
LIVES_A_CHECK = 8

OURS = '''listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {store}/
threads {shards}
max_queued_messages 0
max_inflight_messages 400
log_type error
log_type warning
log_type notice
'''
THEIRS = '''listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {store}/
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
max_inflight_messages 400
user root
log_type error
log_type warning
log_type notice
'''


class Stopped(Exception):
    """The broker does not serve."""


class World:
    """One store, the brokers that live on it one after the other, and its
    clients."""

    def __init__(self, broker, seed, shards, folder, how='kill', tls=False):
        self.rng = random.Random(f'{seed} {shards}')
        self.ledger = Ledger()
        self.broker, self.shards, self.folder = os.path.abspath(broker), shards, folder
        self.how = how
        self.tls = None
        self.pki = certs.Authority(os.path.join(folder, 'ca')) if tls else None
        self.port = harness.free_port()
        self.poll = select.epoll()
        self.links, self.by_fd, self.wills = [], {}, {}
        self.process = None
        self.dead = True
        self.quiet = False		# nothing new: what is under way comes to its end
        self.behind = False		# much is owed: publishers wait
        self.kills, self.starts = [], []
        self.write_conf()
        self.people()

    def write_conf(self):
        store = os.path.join(self.folder, 'store')
        os.makedirs(store, exist_ok=True)
        os.chmod(store, 0o777)
        theirs = os.path.basename(self.broker) == 'mosquitto'
        self.argv = [self.broker, *([] if theirs else ['serve']), '-c',
                     os.path.join(self.folder, 'broker.conf')]
        with open(self.argv[-1], 'w', encoding='ascii') as f:
            text = (THEIRS if theirs else OURS).format(port=self.port, store=store, shards=self.shards)
            if self.pki:
                text = text.replace('allow_anonymous true\n', self.certificates())
            f.write(text.replace('autosave_on_changes true', '') if self.how != 'kill' else text)

    def certificates(self):
        """All clients show the same one; the lines that ask for it."""
        crt, key = self.pki.issue('server', 'server')
        self.tls = ssl.create_default_context(cafile=self.pki.ca)
        self.tls.load_cert_chain(*self.pki.issue('device'))
        return (f'cafile {self.pki.ca}\ncertfile {crt}\nkeyfile {key}\nrequire_certificate true\n'
                'use_identity_as_username true\n')

    def people(self):
        """Who there is.  The filters of one session do not overlap, so that
        each message is for it once."""
        for n in range(4):
            Publisher(self, n, 5 if n % 2 == 0 else 4, clean=n == 3)
        Receiver(self, 'all', 5, {'t/#': 2}, ident=7)
        Receiver(self, 'some', 4, {'t/+/0': 1, 't/+/1': 2}, online=0.97)
        Receiver(self, 'rare', 5, {'t/0/0': 2, 't/0/1': 2, 't/3/2': 1}, online=0.8)
        Receiver(self, 'slow', 4, {'t/1/1': 2, 't/2/2': 1}, lazy=True)
        Receiver(self, 'tardy', 5, {'t/0/2': 2, 't/1/3': 2, 'r/#': 1}, lazy=True, online=0.95)
        Keeper(self, 'flags', 5, {'r/#': 2, 't/0/3': 1}, ident=300)
        Deaf(self, 'deaf', 5, {'n/#': 2}, ident=70000)
        group = Inbox(self.ledger, '$share/g/h/#')
        group.ordered = False
        for name, version in ('one', 5), ('two', 4), ('three', 5):
            Sharer(self, f'share-{name}', version, group)
        left = Inbox(self.ledger, '$share/l/s/#')
        left.ordered = False
        Sharer(self, 'share-stays', 5, left, 's/#', 'l', 1)
        for name in 'leaves-a', 'leaves-b':
            Leaver(self, f'share-{name}', 5, left, 's/#', 'l', 1)
        names = [f'x/{n}' for n in range(16)]
        Churner(self, 'churn-5', 5, names)
        Churner(self, 'churn-4', 4, names)
        self.watcher = Watcher(self, 'watcher', 5, {'w/#': 2})
        Willing(self, 'will-a', 5, 1)
        Willing(self, 'will-b', 4, 2)
        Willing(self, 'will-c', 5, 2, delay=1)
        Willing(self, 'will-d', 5, 1, delay=1)
        Willing(self, 'will-e', 5, 1, clean=True)
        Willing(self, 'will-f', 4, 2, clean=True)
        Willing(self, 'will-g', 5, 2, retain=True)
        Willing(self, 'will-h', 4, 1, retain=True)
        Willing(self, 'will-i', 5, 2, delay=1, retain=True)
        Expirer(self, 'short-a')
        Expirer(self, 'short-b')
        self.links.sort(key=lambda link: isinstance(link, Publisher))

    # Sockets.

    def watch(self, link, write, again=False):
        events = select.EPOLLIN | (select.EPOLLOUT if write else 0)
        fd = link.sock.fileno()
        if again:
            self.poll.modify(fd, events)
        else:
            self.by_fd[fd] = link
            self.poll.register(fd, events)

    def unwatch(self, link):
        fd = link.sock.fileno()
        self.by_fd.pop(fd, None)
        self.poll.unregister(fd)

    # The broker.

    def start(self):
        if self.process is None:
            self.spawn()
        now = self.ledger.now()
        self.ledger.lives.append(now)
        self.starts.append(0)
        self.dead = False
        for link in self.links:
            link.wake = max(link.wake, now + self.rng.randrange(30) * MS)

    def spawn(self):
        with open(os.path.join(self.folder, 'broker.log'), 'ab') as log:
            # pylint: disable=consider-using-with
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=self.folder)

    def kill(self):
        self.dead = True
        self.kills.append(self.ledger.now())
        if self.how != 'cut':
            self.end_broker()
        for link in self.links:		# what it had sent was sent
            if link.sock is not None and link.state not in ('connecting', 'shaking') and self.how != 'cut':
                while link.receive():
                    pass
            link.drop()
            if isinstance(link, Receiver) and self.how != 'cut':
                link.crashed()

    def end_broker(self):
        kills = self.rng.random() < 0.5 if self.how == 'mixed' else self.how == 'kill'
        how, wanted = ((signal.SIGKILL, (-signal.SIGKILL,)) if kills else
                       (signal.SIGTERM, (0, -signal.SIGTERM)))
        self.process.send_signal(how)
        status = self.process.wait()
        self.process = None
        if status not in wanted:
            raise Stopped(f'the broker ended by itself with status {status}')

    def watched(self):
        """Since when somebody hears wills."""
        return self.watcher.inbox.filters['w/#'][0].granted if self.watcher.inbox.filters else OPEN

    def arrival(self):
        """When what is read now came: not after the broker was gone."""
        return self.kills[-1] if self.dead else self.ledger.now()

    def killed_after(self, at):
        return next((k for k in self.kills if k >= at), 0)

    def started_after(self, at):
        return next((s for s, k in zip(self.starts[1:], self.kills) if k >= at and s), 0)

    # Turning.

    def turn(self):
        for fd, events in self.poll.poll(0.003):
            link = self.by_fd.get(fd)
            if link is not None:
                link.ready(events & ~select.EPOLLOUT, events & select.EPOLLOUT)
        now = self.ledger.now()
        for link in self.links:
            if link.wake <= now:
                if link.state == 'down':
                    link.connect()
                else:
                    link.turn(now)
            if link.out:
                link.flush()
            if link.state == 'up' and not self.starts[-1]:
                self.starts[-1] = now
        if self.process.poll() is not None:
            raise Stopped(f'the broker ended by itself with status {self.process.returncode}')

    def turn_until(self, condition, seconds=PATIENCE):
        """Until it holds; False when nothing was delivered or acknowledged
        for so long."""
        progress, end = -1, 0.0
        while not condition():
            self.turn()
            counts = self.ledger.counts
            now = counts['delivered'] + counts['acknowledged'] + counts['wills came']
            if now != progress:
                progress, end = now, time.monotonic() + seconds
            if time.monotonic() > end or self.ledger.enough:
                return False
        return True

    def live(self):
        """One life, and its end."""
        self.start()
        if self.rng.random() < 0.1:		# before it has come up
            time.sleep(self.rng.random() * 0.04)
        else:
            end = time.monotonic() + PATIENCE
            while not self.starts[-1]:
                self.turn()
                if time.monotonic() > end:
                    raise Stopped('the broker did not come up')
            end = time.monotonic() + self.rng.choice((0.02, 0.15, 0.4)) * (0.2 + self.rng.random())
            # most lives see what is retained; the others may be shorter
            inspector = Inspector(self, f'inspector-{len(self.starts)}') if self.rng.random() < 0.8 else None
            turns = 0
            while time.monotonic() < end and not self.ledger.enough:
                self.turn()
                turns += 1
                if turns % 16 == 0:
                    self.behind = sum(len(i.owed) for i in self.ledger.owing) > BACKLOG
            if inspector:
                self.turn_until(inspector.idle)
                inspector.done()
        self.kill()

    def check(self):
        """A life in which everything that was promised has to come."""
        self.start()
        self.quiet = True
        for link in self.links:
            link.wake = 0 if link.wake < self.ledger.now() + 5 * SECOND else link.wake
        self.turn_until(lambda: all(link.idle() for link in self.links))
        if not self.ledger.enough:
            inspector = Inspector(self, f'inspector-{len(self.starts)}', final=True)
            self.turn_until(inspector.idle)
            inspector.done()
        for inbox in self.ledger.owing:
            inbox.missing()
        for link in self.links:
            if isinstance(link, Receiver):
                link.unkept()
            if isinstance(link, Willing):
                link.settle(True)
            if link.state != 'up' and not isinstance(link, (Expirer, Willing)):
                self.ledger.fault(f'{link.name} is not served: {link.state}')
            elif isinstance(link, Publisher) and link.inflight and not self.ledger.enough:
                m = next(iter(link.inflight.values()))
                self.ledger.fault(f'{link.name}: {len(link.inflight)} messages are not acknowledged',
                                  self.ledger.story(m))
        self.quiet = False
        self.kill()

    def run(self, kills):
        try:
            while len(self.kills) < kills and not self.ledger.enough:
                for _ in range(LIVES_A_CHECK - 1):
                    self.live()
                    if len(self.kills) + 1 >= kills or self.ledger.enough:
                        break
                if not self.ledger.enough:
                    self.check()
        except Stopped as e:
            self.ledger.fault(str(e), self.log()[-3000:])
        finally:
            if self.process is not None:
                self.process.kill()
                self.process.wait()
        return self

    def log(self):
        with open(os.path.join(self.folder, 'broker.log'), encoding='utf-8', errors='replace') as f:
            return f.read()


class Sharer(Receiver):
    """A member of a shared subscription: the group is owed what it gets."""

    def __init__(self, world, name, version, group, topics='h/#', called='g', qos=2):
        self.group, self.topics, self.qos = group, topics, qos
        super().__init__(world, name, version, {f'$share/{called}/{topics}': qos},
                         inbox=Inbox(world.ledger, name), online=0.95)

    def subscribe(self, filters, ident=0):
        # The group as a whole is subscribed since its first member is.
        if not self.group.filters:
            self.group.filters[self.topics] = [Interval(self.topics, self.qos, 0, self.ledger.now())]
        super().subscribe(filters, ident)

    def replaces(self, new):
        super().replaces(new)
        whole = self.group.filters[self.topics][0]
        whole.granted = min(whole.granted, new.granted)

    def count(self, m, qos, idents, retained):
        self.group.note(f'{m.key} came to {self.name} with QoS {qos}')
        self.group.takes(m, qos, None)

    def idle(self):
        return super().idle() and not self.group.owed


class Leaver(Sharer):
    """A member that acknowledges little, and whose session ends again and again:
    what it has not acknowledged is the others', whatever the broker does meanwhile."""
    END = b'\xe0\x07\x00\x05\x11\x00\x00\x00\x00'	# DISCONNECT, session expiry 0

    def __init__(self, *args):
        super().__init__(*args)
        self.lazy = True
        self.receive_maximum = self.rng.choice((1, 5, 20))

    def replaces(self, new):
        # Where it is the only one, all ends with it.
        Receiver.replaces(self, new)

    def connect(self):
        # A session that is there already may be told to end with this connection.
        self.expiry = 0 if self.rng.random() < 0.3 and not self.world.quiet else 3600
        super().connect()

    def asking(self):
        if not self.expiry and self.stored == 'yes':
            self.stored = 'perhaps'

    def opened(self, present):
        if not present:
            self.inbox.filters.clear()
        if not present and not self.expiry:
            self.pending.clear()		# it would not outlive the broker
            self.drop(20 * MS)
            return
        super().opened(present)
        self.pending.clear()		# another may have it by now: that is MQTT's choice

    def closed(self, goodbye):
        super().closed(goodbye)
        self.inbox.note(f'its session {"ends" if goodbye or not self.expiry else "stays"}')
        if goodbye or not self.expiry:
            self.stored = 'perhaps'

    def turn(self, now):
        if self.state != 'up' or self.world.quiet:
            super().turn(now)
        elif self.rng.random() < 0.03:
            if self.expiry and self.rng.random() < 0.7:
                self.send(self.END)
                self.state = 'leaving'
            else:
                self.drop(self.rng.randrange(20, 200) * MS)
        else:
            if self.held and self.rng.random() < 0.1:
                self.answer(*self.held.pop(0))
            self.wake = now + 5 * MS

    def count(self, m, qos, idents, retained):
        """It counts when it is acknowledged."""

    def answer(self, kind, mid):
        flight = self.pending.get(mid)
        m = flight and self.ledger.messages.get(flight.key)
        if m and kind == PUBACK:
            super().count(m, flight.qos, None, 0)
        super().answer(kind, mid)


def run_seed(broker, seed, shards, kills, keep=None, how='kill', tls=False):
    """(line that sums it up, faults)."""
    folder = tempfile.mkdtemp(prefix=f'nightjar-crash-{seed}-', dir=keep)
    os.chmod(folder, 0o755)
    began = time.monotonic()
    world = World(broker, seed, shards, folder, how, tls).run(kills)
    ledger = world.ledger
    line = (f'seed {seed}, {shards} shard{"s" if shards > 1 else ""}: {len(world.kills)} kills in '
            f'{time.monotonic() - began:.1f} s, '
            + ', '.join(f'{v:,} {k}' for k, v in ledger.counts.items()) + f', {len(ledger.faults)} faults')
    log = world.log()
    found = harness.SANITIZER.search(log)
    if found:
        ledger.faults.append(log[found.start():found.start() + 6000])
    if ledger.faults and keep:
        ledger.faults.append(f'its store and log: {folder}')
    else:
        shutil.rmtree(folder)
    return line, ledger.faults


def _one(args):
    return run_seed(*args)


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--kills', type=int, default=200)
    p.add_argument('--seeds', default='1-6')
    p.add_argument('--shards', default='1,2,4')
    p.add_argument('--jobs', type=int, default=2 * (os.cpu_count() or 1))
    p.add_argument('--broker', default=harness.NIGHTJAR)
    p.add_argument('--keep', help='keep the folders of seeds that fail in here')
    p.add_argument('--how', choices=('kill', 'end', 'mixed', 'cut'), default='kill',
                   help='SIGKILL; SIGTERM; one or the other; or all connections cut and the broker left alone')
    p.add_argument('--tls', action='store_true', help='clients come with certificates')
    args = p.parse_args()
    if not args.broker:
        p.error('there is no broker: set NJ_BUILD or give --broker')
    first, _, last = args.seeds.partition('-')
    seeds = list(range(int(first), int(last or first) + 1))
    shards = [int(s) for s in args.shards.split(',')]
    each = -(-args.kills // len(seeds))
    began, failed, kills = time.monotonic(), 0, 0
    with multiprocessing.Pool(args.jobs) as pool:
        work = [(args.broker, seed, shards[i % len(shards)], each, args.keep,
                 args.how, args.tls)
                for i, seed in enumerate(seeds)]
        for line, faults in pool.imap_unordered(_one, work, chunksize=1):
            print(line, *faults, sep='\n  ', flush=True)
            failed += bool(faults)
            kills += each
    print(f'{kills} kills, {time.monotonic() - began:.0f} s, {failed} of {len(seeds)} seeds failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
