#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the table `plain` of src/auth/scram.c against Python's tables of RFC
3454: each character in it passes SASLprep (RFC 4013) unchanged, alone and
between any others of the table, in Unicode 3.2 and in today's."""
import re
import stringprep
import sys
import unicodedata

OLD = unicodedata.ucd_3_2_0
PROHIBITED = ('c12', 'c21', 'c22', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8', 'c9')


def composes():
    """What may merge with a character in front of it."""
    out = set()
    for c in range(sys.maxunicode + 1):
        parts = OLD.decomposition(chr(c)).split()
        if len(parts) == 2 and not parts[0].startswith('<'):
            out.add(int(parts[1], 16))
    return out


def fault(c, merging):
    ch = chr(c)
    if stringprep.in_table_a1(ch):
        return 'not assigned in Unicode 3.2'
    if stringprep.in_table_b1(ch) or any(getattr(stringprep, 'in_table_' + t)(ch) for t in PROHIBITED):
        return 'mapped to nothing, or prohibited'
    if stringprep.in_table_d1(ch):
        return 'written from right to left'
    if OLD.normalize('NFKC', ch) != ch or unicodedata.normalize('NFKC', ch) != ch:
        return 'changed by NFKC'
    if OLD.combining(ch) or unicodedata.combining(ch) or c in merging:
        return 'changes with what is beside it'
    return None


def main():
    with open(sys.argv[1], encoding='utf-8') as f:
        table = re.search(r'plain\[\] = \{(.*?)\n\};', f.read(), re.S).group(1)
    ranges = [(int(a, 16), int(b, 16))
              for a, b in re.findall(r'\{ (0x[0-9a-f]+), (0x[0-9a-f]+) \}', table)]
    assert len(ranges) > 10, 'the table was not found'
    merging, faults = composes(), 0
    for first, last in ranges:
        for c in range(first, last + 1):
            why = fault(c, merging)
            if why:
                print(f'U+{c:04X}: {why}')
                faults += 1
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
