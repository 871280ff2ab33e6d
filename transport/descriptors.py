"""How many connections a process can have."""

import resource

from ..protocol.errors import ConfigError

__all__ = ["connections_allowed"]

_OTHER_USES = 64
"""Descriptors for everything that is not a client's connection."""


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
