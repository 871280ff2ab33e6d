"""How many connections a process can have."""

import resource
import socket as sockets

from ..protocol.errors import ConfigError

__all__ = ["borrow", "connections_allowed", "is_spare"]

_AF_INET, _SOCK_STREAM = int(sockets.AF_INET), int(sockets.SOCK_STREAM)
_OTHER_USES = 64
"""Descriptors for everything that is not a client's connection."""
_SPARE = 32
"""The last descriptors that a process may have: connections get none of them."""


def connections_allowed(wanted: int | None, most: int, each: int = 1) -> int:
    """Raise the process's limit of descriptors as far as it may go, and say what it is enough for.

    At the limit, libzmq's listener turns in circles without an error: so it must
    never be reached.

    Args:
        wanted: connections that somebody asked for; None for as many as there can be.
        most: what "as many as there can be" means at most.
        each: descriptors that one client takes: two, where rooms are topics.

    Returns:
        How many connections; 0 or less where there is not even enough for ourselves.

    Raises:
        ConfigError: ``wanted`` are more than the limit allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = (wanted or most) * each + _OTHER_USES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted or most
    allowed = (soft - _OTHER_USES) // each
    if wanted is not None:
        raise ConfigError(
            f"{wanted} sessions need {needed} open files, and this process may have {soft}: "
            "raise the limit (ulimit -n), or ask for fewer."
        )
    return allowed


def borrow(fd: int) -> sockets.SocketType:
    """A connection of libzmq's as a socket, to ask the system about it. Whoever borrows it gives it back: ``detach``.

    Raises:
        OSError: there is none.
    """
    # The plain type that socket.socket is built on, and plain numbers, which also holds for IPv6: nothing looks at
    # them here. Thousands of looks a second cost half as much.
    return sockets.SocketType(_AF_INET, _SOCK_STREAM, 0, fd)


def is_spare(fd: int) -> bool:
    """Whether a descriptor is one of the last that this process may have.

    The system always gives the lowest number that is free. So if a new
    connection has one of the last, nearly all are in use.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and fd >= soft - _SPARE
