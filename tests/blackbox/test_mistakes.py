# SPDX-License-Identifier: Apache-2.0
"""Every row of mistakes.py: the mistake is made, a real client fails, its
cause is named, the mend is applied, and then it works."""
import os
import re
import shutil

import pytest

import mistakes
from harness import ROOT, wait_until
from world import World

pytestmark = [pytest.mark.ours,
              pytest.mark.skipif(not shutil.which('mosquitto_pub'), reason='no mosquitto-clients'),
              pytest.mark.skipif(not shutil.which('curl'), reason='no curl')]


@pytest.fixture(scope='module')
def world(base_folder, pki):
    from conftest import Factory, new_folder
    factory = Factory(base_folder)
    yield World(factory, pki, new_folder(base_folder, 'mistakes-'))
    factory.finish()


def check(who, pattern, w, said, start):
    if who == 'log':
        w.log_says(pattern, start)
        return
    if who == 'reload_says':
        wait_until(lambda: re.search(pattern, w.broker.log(start) + w.reloaded, re.S),
                   f'/{pattern}/ from the reload')
        return
    text = {'says': lambda: said,
            'says_nightjar': lambda: w.nightjar(w.last_args)[1],
            'reload': lambda: w.reloaded + said,
            'config': w.config,
            'doctor': w.doctor,
            'inspect': lambda: w.inspect(*(w.subject or own_files(w.last_args)))}[who]()
    assert re.search(pattern, text, re.S), f'{who} does not say /{pattern}/ but:\n{text}'


def own_files(args):
    return [args[i + 1] for i, a in enumerate(args) if a in ('--cert', '--key')] or [
        args[args.index('--cafile') + 1], '--as', 'ca']


@pytest.mark.parametrize('row', mistakes.ROWS, ids=[r['id'] for r in mistakes.ROWS])
def test_mistake(world, row):
    world.clear()
    start = world.broker.log_size()
    play = row['play'](world)
    client, args = next(play)
    worked, said = client(args)
    assert not worked, f'no mistake: {said}'
    for who, pattern in row['says'].items():
        check(who, pattern, world, said, start)
    client, args = next(play)
    worked, said = client(args)
    assert worked, f'not mended: {said}'
    assert next(play, None) is None


def test_there_are_enough_and_the_page_is_theirs():
    assert len(mistakes.ROWS) >= 40
    assert len({r['id'] for r in mistakes.ROWS}) == len(mistakes.ROWS)
    with open(os.path.join(ROOT, 'docs', 'mistakes.md'), encoding='utf-8') as f:
        assert f.read() == mistakes.markdown(), 'run python3 tests/blackbox/mistakes.py'
