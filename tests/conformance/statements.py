# SPDX-License-Identifier: Apache-2.0
"""The tables of numbered statements, for the tests and for tools/.

An identifier says which version it belongs to: MQTT-3.1.0-1 is MQTT 5.0,
MQTT311-3.1.0-1 is MQTT 3.1.1 (OASIS, appendix B), MQTT31-3.1-1 is a rule of
MQTT 3.1 that differs from 3.1.1."""
import collections
import csv
import os

FOLDER = os.path.dirname(os.path.abspath(__file__))
Version = collections.namedtuple('Version', 'level name prefix table')
# Level: the number that CONNECT carries.
VERSIONS = (
    Version(5, 'MQTT 5.0', 'MQTT-', 'mqtt-5.0-statements.tsv'),
    Version(4, 'MQTT 3.1.1', 'MQTT311-', 'mqtt-3.1.1-statements.tsv'),
    Version(3, 'MQTT 3.1', 'MQTT31-', 'mqtt-3.1-rules.tsv'),
)


# "Both" in the table, but what they say binds a server.
SERVERS = frozenset(('MQTT-3.1.2-22', 'MQTT-4.5.0-1', 'MQTT-4.8.2-3', 'MQTT-4.8.2-4',
                     'MQTT-4.8.2-5', 'MQTT-4.8.2-6'))


def binds(ident, row):
    """Which sides must be tested: of 'server' and 'client'."""
    if ident in SERVERS:
        return {'server'}
    return {'Both': {'server', 'client'}}.get(row['applies_to'], {row['applies_to'].lower()})


def side_of(test_file):
    """Tests of clients stand in files of their own."""
    return 'client' if test_file.startswith('test_client_') else 'server'


def _rows(name):
    path = os.path.join(FOLDER, name)
    if not os.path.exists(path):
        return []
    with open(path, encoding='utf-8', newline='') as f:
        return list(csv.DictReader(f, delimiter='\t', quoting=csv.QUOTE_NONE))


def level_of(ident):
    """5, 4 or 3; None for what is no identifier."""
    return next((v.level for v in VERSIONS if ident.startswith(v.prefix)), None)


def tables():
    """{level: {identifier: row}}, in the order of the standards."""
    return {v.level: {row['id']: row for row in _rows(v.table)} for v in VERSIONS}


def known():
    """{identifier: row} of all versions."""
    return {ident: row for table in tables().values() for ident, row in table.items()}


def unobservable():
    """{identifier: reason} of what nobody can see from outside."""
    return {row['id']: row['reason'] for row in _rows('unobservable.tsv')}
