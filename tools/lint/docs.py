#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fails where README.md or docs/ names a file, a test or a symbol that is
gone.  Looked at: what stands in `backquotes`, and the targets of links.

  `src/net/tls.h`, `net/tls.h`, `net/`  a path, from the root or from src/
  `name()`, `struct name`               a symbol that src/ must contain
  `name_of_module`                      the same, when it has an underscore
Code blocks are left alone."""
import os
import re

import source

FENCE = re.compile(r'^```.*?^```', re.S | re.M)
QUOTED = re.compile(r'`([^`\n]+)`')
LINK = re.compile(r'\]\(([^)#\s]+)')
PATH = re.compile(r'^[\w.-]+(/[\w.{},-]+)*/?$')
PATH_SUFFIX = ('.c', '.h', '.md', '.py', '.sh', '.build', '.service', '.1', '.5', '.8')
CALL = re.compile(r'^(\w+)\(\)$')
STRUCT = re.compile(r'^(?:struct|enum) (\w+)$')
SYMBOL = re.compile(r'^[a-z]\w*_\w+$')


def exists(path, base):
    starts = (source.ROOT, os.path.join(source.ROOT, 'src'), base)
    return any(os.path.exists(os.path.join(s, path)) for s in starts)


def looks_like_path(word):
    if not PATH.match(word) or word.startswith('.'):
        return False
    first = word.split('/')[0]
    known = os.path.isdir(os.path.join(source.ROOT, first)) or \
        os.path.isdir(os.path.join(source.ROOT, 'src', first))
    return ('/' in word and known) or word.endswith(PATH_SUFFIX)


def check(path, words):
    base = os.path.join(source.ROOT, os.path.dirname(path))
    # A fenced block keeps its line count, so that findings name the line.
    text = FENCE.sub(lambda m: '\n' * m.group(0).count('\n'), source.read(path))
    for n, line in enumerate(text.splitlines(), 1):
        for target in LINK.findall(line):
            if '://' not in target and not target.startswith('mailto:') \
                    and not exists(target, base):
                yield f'{path}:{n}: links to {target}, which is not there'
        for word in QUOTED.findall(line):
            name = CALL.match(word) or STRUCT.match(word)
            if name or SYMBOL.match(word):
                if (name.group(1) if name else word) not in words:
                    yield f'{path}:{n}: names `{word}`, which src/ does not have'
            elif looks_like_path(word) and not exists(word, base):
                yield f'{path}:{n}: names `{word}`, which is not there'


def main():
    words = set()
    for p in source.files('.c', '.h', '.build', '.py') + source.files('.txt', under='meson_options.txt'):
        words.update(re.findall(r'\w+', source.read(p)))
    paths = [p for p in source.files('.md') if not p.startswith('tests/')]
    findings = [f for p in paths for f in check(p, words)]
    source.finish(findings, f'{len(paths)} documents name only what is there')


main()
