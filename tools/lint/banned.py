#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fails where C code calls a function that has a safe replacement here."""
import re

import source

BANNED = {
    'strcpy': 'text_copy or snprintf', 'stpcpy': 'snprintf',
    'strcat': 'snprintf or buf_append', 'strncat': 'snprintf',
    'strncpy': 'snprintf',
    'sprintf': 'snprintf', 'vsprintf': 'vsnprintf',
    'gets': 'fgets', 'atoi': 'a checked parse', 'atol': 'a checked parse',
    'atoll': 'a checked parse', 'atof': 'a checked parse',
    'strtok': 'slices', 'alloca': 'a bounded array or malloc',
    'tmpnam': 'mkstemp', 'mktemp': 'mkstemp', 'tempnam': 'mkstemp',
    'rand': 'base/rand.h', 'srand': 'base/rand.h',
    'system': 'posix_spawn', 'popen': 'posix_spawn',
}
CALL = re.compile(r'(?<![\w.>])(' + '|'.join(BANNED) + r')\s*\(')


def main():
    findings = []
    paths = source.files('.c', '.h', under='src') + source.files('.c', '.h', under='tests')
    for path in paths:
        for n, line in enumerate(source.code_only(source.read(path)).splitlines(), 1):
            for m in CALL.finditer(line):
                name = m.group(1)
                findings.append(f'{path}:{n}: {name} is banned; use {BANNED[name]}')
    source.finish(findings, f'{len(paths)} files call none of {len(BANNED)} banned functions')


main()
