#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds some targets, and has the compiler look at all other files without
making anything of them: its warnings come from there, too.

  syntax.py [--jobs N] DIR TARGET..."""
import argparse
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys


def made_for(folder, targets):
    """The objects that ninja makes for these."""
    said = subprocess.run(['ninja', '-C', folder, '-t', 'commands', *targets], text=True,
                          stdout=subprocess.PIPE, check=True).stdout
    return set(re.findall(r' -o (\S+\.o) -c ', said))


def look_at(entry):
    """(failed, output) of a file, with its own options."""
    argv, skip = [], False
    for arg in shlex.split(entry['command']):
        if not skip and arg not in ('-MD', '-MF', '-MQ', '-o', '-c'):
            argv.append(arg)
        skip = arg in ('-MF', '-MQ', '-o')
    p = subprocess.run([*argv, '-fsyntax-only'], cwd=entry['directory'], text=True, errors='replace',
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return p.returncode != 0, p.stdout


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--jobs', type=int, default=os.cpu_count() or 2)
    p.add_argument('folder')
    p.add_argument('target', nargs='+')
    args = p.parse_args()
    failed = subprocess.run(['ninja', '-C', args.folder, '-k', '0', '-j', str(args.jobs),
                             *args.target], check=False).returncode != 0
    made = made_for(args.folder, args.target)
    with open(os.path.join(args.folder, 'compile_commands.json'), encoding='utf-8') as f:
        rest = [e for e in json.load(f) if e['output'] not in made
                # not what is generated for a target that is not made
                and os.path.exists(os.path.join(e['directory'], e['file']))]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for bad, output in pool.map(look_at, rest):
            failed |= bad
            print(output, end='')
    print(f'{len(made)} objects made, {len(rest)} files looked at')
    return 1 if failed else 0


sys.exit(main())
