# SPDX-License-Identifier: Apache-2.0
"""A few histories of each mode, to Nightjar and to Debian's mosquitto; run.py
plays as many as one likes."""
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), 'blackbox')]
# pylint: disable=wrong-import-position
import brokers
from history import MODES
from run import run_seed

SEEDS = range(1, 1 + int(os.environ.get('DIFFERENTIAL_SEEDS', '8')))


@pytest.mark.skipif(not brokers.harness.NIGHTJAR, reason='there is no nightjar binary')
@pytest.mark.skipif(not brokers.find_mosquitto(), reason='there is no mosquitto to compare with')
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('seed', SEEDS)
def test_same_deliveries(seed, mode):
    for pace in 1, 10, 60:		# what a busy machine delays is there at a slower pace
        history, found, faults = run_seed(seed, mode, pace)
        if not found:
            break
    assert not found, (f'tests/differential/run.py -v --mode {mode} --seeds {seed}-{seed}',
                       history.steps[found[0][0]], found[0])
    assert not faults
