"""What a ticket asks for by name, and whether several agree."""

import math
from collections.abc import Iterable, Mapping, Sequence

from ...protocol.errors import TicketError

__all__ = ["MOST_VALUES", "Accepted", "Scalar", "Signature", "agree", "chosen", "common", "read_criteria", "signature"]

Scalar = str | int | float | bool
Accepted = frozenset[str | tuple[str, Scalar]]
"""The values that a ticket accepts for one criterion; those that are no strings carry their type: 1 is not True."""
Signature = tuple[Accepted | None, ...]
"""What a ticket accepts for each criterion of a list; None: anything."""

MOST_VALUES = 32
_LONGEST = 64


def read_criteria(given: Mapping[str, object], allowed: Iterable[str]) -> dict[str, tuple[Scalar, ...]]:
    """Check what a client asks for.

    Args:
        given: names with a scalar, or a list of those that are acceptable.
        allowed: the names that the queue declares.

    Returns:
        The acceptable values of each, without repetition, in their order.

    Raises:
        TicketError: a name that the queue does not declare, or a value of the wrong type or size.
    """
    names = tuple(allowed)
    read: dict[str, tuple[Scalar, ...]] = {}
    if len(given) > len(names):
        raise TicketError(f"{len(given)} criteria: this queue knows {_listed(names)}")
    for name, value in given.items():
        if name not in names:
            raise TicketError(f"criterion {name!r:.70}: this queue knows {_listed(names)}")
        values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
        if not 1 <= len(values) <= MOST_VALUES:
            raise TicketError(f"{name}: 1 to {MOST_VALUES} values are acceptable, not {len(values)}")
        seen: dict[object, Scalar] = {}
        for one in values:
            if not isinstance(one, str | int | float):
                raise TicketError(f"{name}: a criterion is a string, number or boolean, or a list of them")
            if isinstance(one, float) and not math.isfinite(one):
                raise TicketError(f"{name}: a number has to be finite, not {one}")
            if len(one if isinstance(one, str) else str(one)[: _LONGEST + 1]) > _LONGEST:
                raise TicketError(f"{name}: a value has at most {_LONGEST} characters or digits")
            seen.setdefault(_keyed(one), one)
        read[name] = tuple(seen.values())
    return read


def signature(criteria: Mapping[str, tuple[Scalar, ...]], names: Sequence[str]) -> Signature:
    """What a ticket accepts, by the criteria of a list."""
    return tuple(frozenset(map(_keyed, criteria[name])) if name in criteria else None for name in names)


def agree(one: Signature, other: Signature) -> bool:
    """Whether there is a value for each criterion that both accept."""
    for a, b in zip(one, other):  # noqa: B905, SIM110  # of one queue, so of one length; thrice as quick as all()
        if a is not None and b is not None and a.isdisjoint(b):
            return False
    return True


def common(one: Signature, other: Signature) -> Signature | None:
    """What both accept; None if they don't agree."""
    if one == other:
        return one
    both: list[Accepted | None] = []
    for a, b in zip(one, other, strict=True):
        shared = a if b is None else b if a is None else a & b
        if shared is not None and not shared:
            return None
        both.append(shared)
    return tuple(both)


def chosen(accepted: Accepted, criteria: Iterable[tuple[Scalar, ...]]) -> Scalar:
    """The value that a match takes of those that all accept: the first of who waits longest and cares."""
    return next(value for values in criteria for value in values if _keyed(value) in accepted)


def _keyed(value: Scalar) -> str | tuple[str, Scalar]:
    return value if type(value) is str else (type(value).__name__, value)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"
