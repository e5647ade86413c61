#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plays random histories to Nightjar and to Debian's mosquitto and compares.

  tests/differential/run.py                    100 seeds of each mode
  tests/differential/run.py --seeds 7-7 -v     one seed, with its steps
  tests/differential/run.py --mode slow --seeds 1-1000"""
import argparse
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), 'blackbox')]
# pylint: disable=wrong-import-position
import brokers
import compare
from history import CLIENTS, MODES, History
from player import play


def run_seed(seed, mode, pace=1):
    """(history, differences, faults of our order).  pace: how many times as long
    silence lasts before it is taken for an answer."""
    history = History(seed, mode)
    records = []
    for make in (brokers.ours, brokers.theirs):
        with make() as b:
            records.append(play(b.port, history, CLIENTS, pace))
    return (history, compare.differences(history, *records),
            compare.order_faults(records[0]))


def tell(seed, mode, history, found, faults, verbose):
    print(f'{mode} {seed}: {len(found)} differences, {len(faults)} out of order')
    first = min([f[0] for f in found + faults])
    for n, (verb, i, a) in enumerate(history.steps[:first + 1]):
        if verbose or n == first:
            print(f'  step {n}: client {i} {verb} {a}')
    for n, i, what, x, y in found[:3]:
        print(f'  step {n}, client {i}, {what}:\n    nightjar  {x}\n    mosquitto {y}')
    for fault in faults[:3]:
        print('  out of order:', fault)


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--seeds', default='1-100', metavar='FIRST-LAST')
    p.add_argument('--mode', choices=MODES, action='append')
    p.add_argument('-v', '--verbose', action='store_true')
    o = p.parse_args()
    if not brokers.harness.NIGHTJAR:
        sys.exit('there is no nightjar to compare (set NIGHTJAR=/path/to/it)')
    if not brokers.find_mosquitto():
        sys.exit('there is no mosquitto to compare with (set MOSQUITTO=/path/to/it)')
    first, last = (int(n) for n in o.seeds.split('-'))
    failed = 0
    for mode in o.mode or MODES:
        for seed in range(first, last + 1):
            history, found, faults = run_seed(seed, mode)
            if found or faults:
                failed += 1
                tell(seed, mode, history, found, faults, o.verbose)
    print(f'{(last - first + 1) * len(o.mode or MODES) - failed} passed, {failed} failed')
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
