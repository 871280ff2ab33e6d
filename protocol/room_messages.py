"""What clients and the broker say about ways into rooms and lists of them: the fields of each message in order.

``messages.py`` gives them their kinds, and reads and writes them with all others.
"""

from typing import NamedTuple

from .fields import Ask, Epoch, Items, Map, Number, OptionalTypeName, Ref, TypeName

__all__ = ["JoinOrCreate", "JoinWhere", "Listed", "Unwatch", "Watch"]


class JoinOrCreate(NamedTuple):
    """client → broker: take a seat in an open room of this ruleset, or in a new one. Answer: ASSIGNED or ERROR."""

    ref: Ref
    ask: Ask
    ruleset: Items
    filter: Map
    options: Map


class JoinWhere(NamedTuple):
    """client → broker: take a seat in an open room of this type that fits. Answer: ASSIGNED or ERROR."""

    ref: Ref
    ask: Ask
    type: TypeName
    filter: Map
    options: Map


class Watch(NamedTuple):
    """client → broker: tell which rooms fit, now and from now on. Answer: LISTED, again and again, or ERROR."""

    ref: Ref
    ask: Ask
    type: OptionalTypeName
    filter: Map
    epoch: Epoch
    offset: Number


class Unwatch(NamedTuple):
    """client → broker: the list of WATCH ``ask`` is not wanted any more. Answer: none."""

    ref: Ref
    ask: Ask


class Listed(NamedTuple):
    """broker → client: changes of the list of WATCH ``ask``; ``offset`` is its place before the first of them."""

    ref: Ref
    ask: Ask
    epoch: Epoch
    offset: Number
    changes: Items
