"""What an administrator is shown of a room."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runner import Runner

__all__ = ["describe"]

_MOST_MEMBERS = 500
"""That are shown of one room."""


def describe(runner: "Runner") -> dict[str, Any]:
    """How a room is."""
    seats = runner.seats
    members = list(runner.members.values())
    return {
        "room": runner.id,
        "type": runner.type,
        "state": runner.state.value,
        "locked": seats.locked,
        "max_clients": seats.capacity,
        "reserved": seats.reserved,
        "max_spectators": seats.gallery,
        "metadata": runner.reports.metadata,
        "offset": runner.fanout.offset,
        "history_bytes": runner.fanout.history.size,
        "events_waiting": len(runner.mailbox),
        "behind": len(runner.fanout.behind),
        "slow_members": runner.room.slow_members,
        "fanout": "unicast" if runner.audience is None else "topic",
        "members": [
            {
                "client": one.id,
                "address": one.ADDRESS,
                "state": one.seat.state.value,
                "spectator": one.spectator,
                "uplink": one.uplink,
                "lagging": one.lagging,
            }
            for one in members[:_MOST_MEMBERS]
        ],
        "more_members": max(0, len(members) - _MOST_MEMBERS),
    }
