# SPDX-License-Identifier: Apache-2.0
"""clause('MQTT-3.1.0-1', ...) names the statements that a test shows.

It is a mark: it stands above a test, or in the marks of one pytest.param.  A
test that holds for several versions has a parameter `version` (5, 4 or 3), and
each run counts for the statements of that version only."""
import pytest

import statements


def clause(*idents):
    for ident in idents:
        assert statements.level_of(ident), f'{ident!r} names no statement'
    return pytest.mark.clause(*idents)
