# SPDX-License-Identifier: Apache-2.0
"""What the kernel has of a socket of another process."""
import contextlib
import ctypes
import errno
import os
import socket

import pytest

PIDFD_GETFD = 438  # pidfd_getfd(2), of Linux 5.6


def of_process(pid):
    """A copy of each of its sockets, in turn."""
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    try:
        for fd in os.listdir(f'/proc/{pid}/fd'):
            got = libc.syscall(PIDFD_GETFD, process, int(fd), 0)
            if got < 0:
                if ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
                    pytest.skip(f'pidfd_getfd: {os.strerror(ctypes.get_errno())}')
                continue	# closed meanwhile
            try:
                s = socket.socket(fileno=got)
            except OSError:
                os.close(got)
                continue	# no socket
            with s:
                yield s
    finally:
        os.close(process)


def nodelay(pid, peer):
    """TCP_NODELAY of its connection to this address."""
    for s in of_process(pid):
        with contextlib.suppress(OSError):
            if s.getpeername() == peer:
                return s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    raise AssertionError(f'{pid} has no connection to {peer}')
