"""What the parties of a run tell the oracle: the kinds of records, and what stands in each.

A record is an array: its kind, when it happened (seconds of the machine's
monotonic clock, which all processes share), and the fields below.

A *visit* is one membership of one client, from asking for a seat to the end. Its
client gives it a number, which travels with the request as an option, so that
both sides speak of the same one. A *serial* numbers what a room says, from 0.
"""

from enum import IntEnum

__all__ = ["INTENTS", "Event"]


class Event(IntEnum):
    """Kinds of records."""

    # Of every party, first.
    HELLO = 0
    """role (``client``, ``worker`` or ``lead``), name."""

    # Of rooms, by their worker: written before anybody can know of it.
    OPEN = 10
    """room, seats, history's count, history's age, places of the history that presence may take."""
    JOIN = 11
    """room, visit, client, seats that its match was for, or 0."""
    SAY = 12
    """room, serial, visit that alone gets it or 0, visits that do not get it, key whose newest value it is or 0."""
    APPLY = 13
    """room, visit, number, room that the message was meant for."""
    TURN_AWAY = 14
    """room, visit, number: a request that the room answered with an error."""
    DROP = 15
    """room, visit."""
    BACK = 16
    """room, visit."""
    LEAVE = 17
    """room, visit, code."""
    DISPOSE = 18
    """room."""

    # Of clients: what they are about to do.
    ASK = 20
    """visit, client, seats of the match that it asks for, or 0."""
    SEND = 21
    """visit, number."""

    # Of clients: what they saw.
    ENTER = 30
    """visit, room."""
    GIVE_UP = 31
    """visit, name of the error."""
    READ = 32
    """visit, room, epoch, then serial, offset, direct number and ``True`` for a broadcast, of each message in turn."""
    RESET = 33
    """visit, serial or None."""
    ACKED = 34
    """visit, number."""
    REFUSED = 35
    """visit, number."""
    UNSURE = 36
    """visit, number: nobody answered in time."""
    OVER = 37
    """visit, name of the error or None."""
    MISROUTED = 38
    """client, bundles of streams that were not its own."""

    # Of who leads the run.
    FAULT = 40
    """what it is (empty at its end), things that may suffer, seconds that it takes."""
    REST = 41
    """number of the question, and whether it is the last: is everything as it is to be when nothing is under way?"""


INTENTS = frozenset({Event.ASK, Event.SEND, Event.FAULT})
"""What is about to happen: it follows from nothing that another party told, and others' records follow from it."""
