"""Breaking this process's own connections, as a router that lost its state does: with a reset, both ways."""

import ctypes
import errno
import os
import socket
import stat
from pathlib import Path

__all__ = ["connections_to", "reset"]

_NOBODY = (ctypes.c_char * 16)()
"""A socket address of the family AF_UNSPEC, which is 0."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def connections_to(port: int) -> list[int]:
    """Descriptors of this process's TCP connections to a port."""
    found: list[int] = []
    for entry in Path("/proc/self/fd").iterdir():
        fd = int(entry.name)
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode) and _peer_port(fd) == port:
                found.append(fd)
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.ENOTCONN, errno.EINVAL):
                raise  # these three: it was closed meanwhile
    return found


def reset(fd: int) -> bool:
    """Break a connection: connecting a TCP socket to nobody sends a reset (connect(2), AF_UNSPEC).

    Returns:
        Whether it stood until now.
    """
    if _LIBC.connect(fd, _NOBODY, len(_NOBODY)) == 0:
        return True
    problem = ctypes.get_errno()
    if problem in (errno.EBADF, errno.ENOTCONN, errno.ENOTSOCK):
        return False
    raise OSError(problem, os.strerror(problem))


def _peer_port(fd: int) -> int | None:
    with socket.socket(fileno=os.dup(fd)) as copy:
        if copy.family != socket.AF_INET:
            return None
        return int(copy.getpeername()[1])
