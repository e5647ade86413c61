#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a folder of src/ includes a sibling or a higher layer, when
includes go in a circle, or when a file is included that is not there."""
import os
import re

import source

LAYERS = [
    ['base'],
    ['wire', 'conf', 'pki'],
    ['net', 'store', 'auth'],
    ['core', 'client'],
    ['broker', 'sink'],
    ['admin'],
    ['cmd'],
]
LEVEL = {name: i for i, names in enumerate(LAYERS) for name in names}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)


def folder(path):
    parts = path.split('/')
    return parts[1] if len(parts) > 2 else ''


def find_circle(graph):
    state = {}
    path = []

    def visit(node):
        state[node] = 'open'
        path.append(node)
        for nxt in graph.get(node, ()):
            if state.get(nxt) == 'open':
                return path[path.index(nxt):] + [nxt]
            if nxt not in state:
                circle = visit(nxt)
                if circle:
                    return circle
        path.pop()
        state[node] = 'done'
        return None

    for node in sorted(graph):
        if node not in state:
            circle = visit(node)
            if circle:
                return circle
    return None


def main():
    findings = []
    graph = {}
    paths = source.files('.c', '.h', under='src')
    for path in paths:
        mine = folder(path)
        if mine not in LEVEL:
            findings.append(f'{path}: folder "{mine}" is not a layer '
                            '(tools/lint/layers.py lists them)')
            continue
        graph[path] = []
        for inc in INCLUDE.findall(source.read(path)):
            target = 'src/' + inc
            if not os.path.isfile(os.path.join(source.ROOT, target)):
                findings.append(f'{path}: includes "{inc}", which is not '
                                'src/' + inc)
                continue
            graph[path].append(target)
            theirs = folder(target)
            if theirs not in LEVEL or theirs == mine:
                continue
            if LEVEL[theirs] == LEVEL[mine]:
                findings.append(f'{path}: includes "{inc}" of a sibling layer')
            elif LEVEL[theirs] > LEVEL[mine]:
                findings.append(f'{path}: includes "{inc}" of a higher layer')
    circle = find_circle(graph)
    if circle:
        findings.append('include circle: ' + ' -> '.join(circle))
    source.finish(findings, f'{len(paths)} files keep to their layers')


main()
