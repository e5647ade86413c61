# SPDX-License-Identifier: Apache-2.0
"""What of two records must agree, and what may differ, by name.

Each difference that is not mended has a function here and a paragraph in the
conformance report's notes."""


def is_message(e):
    return e[0] == 'publish'


def merged(events):
    """What came, without how often it was sent again.  Overlapping subscriptions: one message with all identifiers and the
    highest QoS here, one for each subscription there.  The standard allows
    both (3.3.4), so copies of one message within a step count as one."""
    out = {}
    for _, topic, payload, qos, retain, _, props in events:
        rest = tuple(p for p in props if p[0] != 'subscription_id')
        ids = {i for p in props if p[0] == 'subscription_id' for i in p[1]}
        key = (topic, payload, rest)
        had = out.setdefault(key, [0, False, set()])
        had[0] = max(had[0], qos)
        had[1] = had[1] or retain
        had[2] |= ids
    return sorted((*k, v[0], v[1], tuple(sorted(v[2]))) for k, v in out.items())


def unlike(x, y, queued):
    """What of x and y, as merged gives them, is not in the other.  queued: the
    messages waited for a client; Mosquitto then has no copy for a subscription
    of QoS 0, so that its identifier and its Retain As Published are missing."""
    theirs = {m[:4]: m[4:] for m in y}
    if queued:
        x = [m if m[:4] not in theirs or not
             (m[4] >= theirs[m[:4]][0] and set(m[5]) >= set(theirs[m[:4]][1]))
             else (*m[:4], *theirs[m[:4]]) for m in x]
    return [m for m in x if m not in y], [m for m in y if m not in x]


def answers(events):
    """0x10, no matching subscribers, is optional (3.4.2.1, 3.5.2.1).  0x11 is
    what 3.11.3 wants where there was nothing to unsubscribe from; Mosquitto
    2.0 says 0 there, unless the filter's first level is in use."""
    out = []
    for e in events:
        if is_message(e):
            continue
        if e[0] in ('puback', 'pubrec') and e[1] == 0x10:
            e = (e[0], 0)
        if e[0] == 'unsuback':
            e = (e[0], tuple(0 if code == 0x11 else code for code in e[1]))
        out.append(e)
    return sorted(out, key=repr)


def differences(history, ours, theirs):
    """[(step, client, what, ours, theirs)]; client None: all of them."""
    found = []
    if history.mode == 'slow':
        # which of several messages is in a window first is the broker's
        # choice where they are of different topics, or retained
        for i in range(len(ours[0])):
            x, y = (merged(e for step in side for e in step[i] if is_message(e))
                    for side in (ours, theirs))
            x, y = unlike(x, y, True)
            if x or y:
                found.append((len(ours) - 1, i, 'messages', x, y))
        return found
    for n, (a, b) in enumerate(zip(ours, theirs)):
        for i, (x, y) in enumerate(zip(a, b)):
            if answers(x) != answers(y):
                found.append((n, i, 'answers', answers(x), answers(y)))
        if history.mode == 'shared':
            continue
        queued = history.steps[n][0] == 'connect'
        pairs = [(i, *unlike(merged(filter(is_message, x)), merged(filter(is_message, y)),
                             queued and i == history.steps[n][1]))
                 for i, (x, y) in enumerate(zip(a, b))]
        for i, x, y in pairs:
            if x != y:
                found.append((n, i, 'messages', x, y))
    if history.mode == 'shared':
        # which member gets it is the broker's choice (4.8.2)
        x, y = (sorted(e for step in side for events in step for e in events if is_message(e))
                for side in (ours, theirs))
        if x != y:
            found.append((len(ours) - 1, None, 'messages', [m for m in x if m not in y],
                          [m for m in y if m not in x]))
    return found


def order_faults(record):
    """Messages of one topic, QoS and step order must come in the order they
    were published: payloads are numbered."""
    faults = []
    last = {}
    for n, clients in enumerate(record):
        for i, events in enumerate(clients):
            for e in events:
                if e[0] == 'connack':
                    last = {k: v for k, v in last.items() if k[0] != i}
                if not is_message(e) or e[4] or e[5] or not e[2].startswith(b'message '):
                    continue
                key, number = (i, e[1], e[3]), int(e[2].split()[1])
                if last.get(key, 0) > number:
                    faults.append((n, i, e))
                last[key] = number
    return faults
