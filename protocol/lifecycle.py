"""Life cycles as tables: ``{state: {event: next state}}``."""

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from .errors import IllegalTransition

__all__ = ["Table", "step"]

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)

Table = Mapping[S, Mapping[E, S]]


def step(table: Table[S, E], state: S, event: E) -> S:
    """The state that follows.

    Raises:
        IllegalTransition: the table has no such event in this state.
    """
    try:
        return table[state][event]
    except KeyError:
        raise IllegalTransition(type(state).__name__, state.value, event.value) from None
