# SPDX-License-Identifier: Apache-2.0
"""A disk that makes trouble: what libfaultydisk.so does to a program's calls."""
import errno
import mmap
import os
import struct

from harness import built

# Its calls, and its struct control.
CALLS = {name: 1 << i for i, name in enumerate((
    'open', 'read', 'write', 'sync', 'truncate', 'allocate', 'rename', 'unlink', 'mmap', 'stat',
    'lock'))}
A_PART = -1
FIELDS = struct.Struct('=8i32s')
PLACES = {name: 4 * i for i, name in enumerate((
    'calls', 'error', 'skip', 'times', 'slow_us', 'hits', 'limited', 'room'))}
FOR_EVER = 1 << 30


class Disk:
    """That of one program, which is given environment()."""

    def __init__(self, control, folder):
        self.path, self.folder = str(control), folder
        with open(self.path, 'w+b') as f:
            f.truncate(FIELDS.size)
            self.map = mmap.mmap(f.fileno(), FIELDS.size)

    def environment(self):
        return {'LD_PRELOAD': built('tests', 'blackbox', 'libfaultydisk.so'),
                'NJ_DISK_CONTROL': self.path, 'NJ_DISK_FOLDER': self.folder,
                'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':verify_asan_link_order=0'}

    def _set(self, name, value):
        struct.pack_into('=i', self.map, PLACES[name], value)

    def _get(self, name):
        return struct.unpack_from('=i', self.map, PLACES[name])[0]

    @property
    def hits(self):
        return self._get('hits')

    def well(self):
        """No more trouble."""
        self._set('calls', 0)
        self._set('limited', 0)

    def fails(self, calls, error, skip=0, times=FOR_EVER, part='', slow_us=0):
        """The named calls, on files whose names have that part, after so many."""
        self.well()
        for name, value in (('error', A_PART if error == 'part' else
                             getattr(errno, error) if error else 0), ('skip', skip),
                            ('times', times), ('slow_us', slow_us), ('hits', 0)):
            self._set(name, value)
        self.map[FIELDS.size - 32:] = part.encode().ljust(32, b'\0')
        self._set('calls', sum(CALLS[c] for c in calls.split()))

    def full_after(self, room):
        """Files take so many bytes more, altogether."""
        self.well()
        self._set('hits', 0)
        self._set('room', room)
        self._set('limited', 1)
