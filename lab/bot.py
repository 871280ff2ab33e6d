"""Bot: what a scenario is written as. The machinery that runs bots is in the ``srs bench`` command."""

from typing import Literal

from ..client import AsyncClient, ClientRoom, Received
from .stamp import Stamp, find_stamp

__all__ = ["Bot"]


class Bot:
    """One simulated client. Subclass it in a file of your own, and run ``srs bench file.py``.

    ::

        class Chatter(Bot):
            bots = 20
            rate = 2.0

            async def join(self, client):
                return await client.match(RuleSet(4, room="chat"), timeout=30)

            async def act(self, room, stamp):
                await room.send("say", {"text": stamp})

    Every bot is a client with a connection of its own; the bots are spread over
    the load processes, and each process makes its own. Hooks run on the event
    loop of their process: what they block, they block for its other bots.

    Args:
        number: of this bot, from 0.
        total: how many bots there are, in all processes together.
    """

    bots: int = 40
    """How many there are; ``--bots`` says otherwise."""
    group: int = 1
    """Bots only come in multiples of this: the seats of a room, where a room waits until it is full."""
    rate: float = 10.0
    """Acts a second of each bot; ``--rate`` says otherwise. Bots that only listen set 0 in their ``__init__``."""
    heard_by: Literal["all", "others", "sender"] = "all"
    """Whom the room passes a message on to: all members, all but its sender, or its sender alone.
    With ``all``, every member is expected to see every offset of the room."""
    visits: bool = False
    """Instead of staying and acting, the bot connects, joins and leaves at each of its times."""

    def __init__(self, number: int, total: int) -> None:
        self.number = number
        self.total = total

    async def join(self, client: AsyncClient) -> ClientRoom:
        """Get into a room. Runs once, or with ``visits`` each time; what it takes is the join latency.

        Args:
            client: connected already.
        """
        raise NotImplementedError(f"{type(self).__name__} has no join()")

    async def act(self, room: ClientRoom, stamp: str) -> None:
        """Do what is due now: send one message that contains the stamp.

        Runs ``rate`` times a second, one at a time: while it waits, the next
        ones are late, and are measured from when they were due. What it raises is
        counted, and fails the run.

        Args:
            room: what ``join`` returned.
            stamp: a short text that the room has to pass on as it is.
        """
        raise NotImplementedError(f"{type(self).__name__} has no act()")

    def stamp_in(self, message: Received) -> Stamp | None:
        """The stamp in a message of the room, or None. Called with everything that the room says.

        Override it where the room packs it deeper than as a text, or as a text
        that is directly in a list or map.
        """
        return find_stamp(message.data)
