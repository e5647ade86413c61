#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every lint tool and prints one line for each, with the findings of
those that have any.  There is no baseline: a finding is mended, or marked
where it stands with the reason.

  run.py --gcc DIR --clang DIR [--results FILE] [--jobs N] [--deep] [TOOL...]
DIR are build directories (or places to make them): one set up with gcc for
-fanalyzer, one with clang whose compile_commands.json clang-tidy reads."""
import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import time

import source

HERE = os.path.dirname(os.path.abspath(__file__))
# How far clang's analyzer looks into one function.  It comes to new code first;
# what its own 225000 add is other ways to the same lines, for more than twice
# the time.
NODES = 100000


def run(argv, env=None):
    """(failed, output) of one command, run at the root of the tree."""
    p = subprocess.run(argv, cwd=source.ROOT, stdin=subprocess.DEVNULL, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       errors='replace', env={**os.environ, **(env or {})}, check=False)
    return p.returncode != 0, p.stdout


def chunks(items, size):
    return [items[i:i + size] for i in range(0, len(items), size)]


def c_files(*suffixes):
    return source.files(*suffixes, under='src') + source.files(*suffixes, under='tests')


def own_script(name):
    return lambda args: [[sys.executable, os.path.join(HERE, name + '.py')]]


def clang_format(args):
    return [['clang-format', '--dry-run', '-Werror'] + part
            for part in chunks(c_files('.c', '.h'), 40)]


def clang_tidy(args):
    """The files that the clang build compiles, a few a process."""
    with open(os.path.join(args.clang, 'compile_commands.json'), encoding='utf-8') as f:
        listed = {os.path.realpath(os.path.join(c['directory'], c['file']))
                  for c in json.load(f)}
    mine = [p for p in source.files('.c', under='src')
            if os.path.realpath(os.path.join(source.ROOT, p)) in listed]
    depth = [] if args.deep else [
        '--extra-arg=' + a for a in ('-Xclang', '-analyzer-config', '-Xclang', f'max-nodes={NODES}')]
    return [['clang-tidy', '--quiet', '-p', args.clang, *depth] + part
            for part in chunks(mine, 4)]


def cppcheck(args):
    if not source.files('.c', under='src'):
        return []
    return [['cppcheck', '--quiet', '--error-exitcode=1', '--inline-suppr', '--std=c11',
             '--enable=warning,performance,portability', '--suppress=missingIncludeSystem',
             '--suppress=internalAstError', '-D_GNU_SOURCE', '-D__linux__',
             '-DNJ_VERSION="0"', '-Isrc', '-j', str(args.jobs)] + ['src']]


def gcc_analyzer(args):
    return [['ninja', '-C', args.gcc, '-k', '0', '-j', str(args.jobs)]]


def shellcheck(args):
    scripts = []
    for path in source.files():
        with open(os.path.join(source.ROOT, path), 'rb') as f:
            first = f.readline(80)
        if path.endswith('.sh') or (first.startswith(b'#!') and
                                    (b'sh\n' in first or b'sh ' in first)):
            scripts.append(path)
    return [['shellcheck', '-x'] + scripts] if scripts else []


def mandoc(args):
    pages = source.files('.1', '.5', '.8', under='man')
    return [['mandoc', '-T', 'lint', '-W', 'warning'] + pages] if pages else []


def speccheck(args):
    """Lists clauses that nothing cites; fails on those that do not exist."""
    return [[sys.executable, os.path.join(source.ROOT, 'tools', 'speccheck'), '--lint']]


# In the order of the report; the slow ones start first.
TOOLS = {
    'gcc-analyzer': gcc_analyzer,
    'clang-tidy': clang_tidy,
    'cppcheck': cppcheck,
    'clang-format': clang_format,
    'layers': own_script('layers'),
    'lengths': own_script('lengths'),
    'banned': own_script('banned'),
    'spdx': own_script('spdx'),
    'docs': own_script('docs'),
    'speccheck': speccheck,
    'shellcheck': shellcheck,
    'mandoc': mandoc,
}
ALONE = ('gcc-analyzer', 'cppcheck')	# bring their own parallelism
ONE_LINE = ('layers', 'lengths', 'banned', 'spdx', 'docs', 'speccheck')


def setup(folder, env, *options):
    if os.path.exists(os.path.join(folder, 'build.ninja')):
        failed, output = run(['meson', 'configure', folder, *options], env)
        return (failed, output) if failed else run(['ninja', '-C', folder, 'build.ninja'])
    return run(['meson', 'setup', folder, source.ROOT, *options], env)


def run_tool(name, args, pool):
    if name == 'gcc-analyzer':
        # gcc 12 loses a pointer that is stored by a computed index, and calls
        # that a leak; clang's analyzer and LeakSanitizer look for those.
        failed, output = setup(args.gcc, {'CC': 'gcc'}, '-Dtests=false',
                               '-Dc_args=-fanalyzer -Wno-analyzer-malloc-leak')
        if failed:
            return True, output
    if name == 'clang-tidy':
        failed, output = setup(args.clang, {'CC': 'clang'}, '-Dfuzz=true',
                               '-Db_sanitize=address,undefined', '-Db_lundef=false')
        if failed:
            return True, output
    commands = TOOLS[name](args)
    results = list(map(run, commands) if name in ALONE else pool.map(run, commands))
    failed = any(f for f, _ in results)
    output = ''.join(o for f, o in results if f or name in ONE_LINE)
    if name == 'clang-format':
        # One line a file; the tool that found it also mends it.
        found = dict.fromkeys(line.split(':')[0] for line in output.splitlines()
                              if ': error: ' in line)
        output = ''.join(f'{path}: run clang-format -i {path}\n' for path in found) or output
    return failed, output


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--gcc', default='build-check-analyzer')
    p.add_argument('--clang', default='build-check-clang')
    p.add_argument('--results')
    p.add_argument('--jobs', type=int, default=os.cpu_count() or 2)
    p.add_argument('--deep', action='store_true', help='clang-tidy looks as far as it does by itself')
    p.add_argument('tool', nargs='*', help='of: ' + ' '.join(TOOLS))
    args = p.parse_args()
    args.gcc = os.path.join(source.ROOT, args.gcc)
    args.clang = os.path.join(source.ROOT, args.clang)
    for name in args.tool:
        if name not in TOOLS:
            p.error(f'no lint tool is called {name}')

    bad = False
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for name in args.tool or TOOLS:
            began = time.monotonic()
            failed, output = run_tool(name, args, pool)
            took = time.monotonic() - began
            note = f'  ({output.strip()})' if name in ONE_LINE and not failed else ''
            print(f'{"FAIL" if failed else "ok":4} lint/{name}  {took:.1f} s{note}', flush=True)
            if failed:
                bad = True
                print(output, flush=True)
            if args.results:
                with open(args.results, 'a', encoding='utf-8') as f:
                    print('fail' if failed else 'pass', f'lint/{name}', file=f)
    return 1 if bad else 0


sys.exit(main())
