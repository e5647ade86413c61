#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fails on a source file whose first lines do not name its licence."""
import os

import source

LINE = 'SPDX-License-Identifier: Apache-2.0'
SUFFIXES = ('.c', '.h', '.py', '.sh', '.build', '.mjs', '.js', '.ts', '.1',
            '.5', '.8', '.service', '.yml')


def is_script(path):
    if '.' in os.path.basename(path):
        return False
    with open(os.path.join(source.ROOT, path), 'rb') as f:
        return f.read(2) == b'#!'


def main():
    findings = []
    paths = [p for p in source.files() if p.endswith(SUFFIXES) or is_script(p)]
    for path in paths:
        if not any(LINE in line for line in source.read(path).splitlines()[:3]):
            findings.append(f'{path}: the first lines do not say "{LINE}"')
    source.finish(findings, f'{len(paths)} files name their licence')


main()
