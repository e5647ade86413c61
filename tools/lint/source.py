# SPDX-License-Identifier: Apache-2.0
"""What the lint scripts share: the files of the tree and C without its words."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def files(*suffixes, under=''):
    """Paths, relative to the root, of tracked and new files; sorted."""
    # safe.directory: root may check a tree that somebody else cloned.
    out = subprocess.run(
        ['git', '-c', 'safe.directory=*', '-C', ROOT, 'ls-files', '-co',
         '--exclude-standard', '--', under or '.'],
        stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    return sorted(p for p in set(out)
                  if (not suffixes or p.endswith(suffixes))
                  and os.path.isfile(os.path.join(ROOT, p)))


def read(path):
    with open(os.path.join(ROOT, path), encoding='utf-8') as f:
        return f.read()


def code_only(text):
    """C with comments and literals blanked; lines stay where they were."""
    def blank(m):
        tok = m.group(0)
        if tok[0] == '/':
            return re.sub(r'[^\n]', ' ', tok)
        return tok[0] + ' ' * (len(tok) - 2) + tok[-1]
    return _TOKEN.sub(blank, text)


def finish(findings, clean):
    """Prints findings and ends the script; 1 when there are any."""
    for f in findings:
        print(f)
    if not findings:
        print(clean)
    sys.exit(1 if findings else 0)
