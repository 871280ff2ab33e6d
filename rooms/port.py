"""A port: the connections of one listener, the turns that it works in, and the clock behind all deadlines."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from typing import Any

from ..protocol.alarms import Alarms
from ..protocol.cluster import ClusterMessage
from ..protocol.codec import upload_decoder
from ..protocol.errors import (
    Code,
    ConnectionTimedOut,
)
from ..protocol.ids import Entropy
from ..protocol.limits import AddressLimits, Limits
from ..protocol.messages import (
    Goodbye,
    Join,
    Message,
    Recover,
)
from ..transport.locks import NOBODY, Lock, Vouched
from ..transport.network import Listener, Network, PeerSink
from .addresses import AddressBook
from .backlog import Backlog
from .connection import Connection
from .standstill import Standstill

__all__ = ["Port"]

_UNHEARD = 5.0
"""Seconds in which a connection has to say its first word. It is short because of who claims a routing id of its own
and says nothing: libzmq ends the process if it gives the same one to somebody else meanwhile."""
_SLACK = 0.001
"""Deadlines this close to each other, in seconds, are met in one turn."""


class Port:
    """Owns a listener and its connections; hands messages to the broker and the worker.

    It makes the turns: one when something arrives, one when a deadline comes.
    In each, ``now`` stands still, and what is to be sent leaves at the end.

    Args:
        limits: what peers may do; announced by the broker.
        entropy: where the first reference comes from.
        make: what its connections are.
        book: what each address may do, over all ports of this process that clients reach.
    """

    def __init__(
        self,
        limits: Limits,
        entropy: Entropy,
        make: type[Connection] = Connection,
        book: AddressBook | None = None,
    ) -> None:
        self.limits = limits
        self.book = book or AddressBook(AddressLimits())
        self._make = make
        self.decode = upload_decoder(limits)
        self.now = 0.0
        self.in_turn = False
        self.received = 0
        """Frames that came, since the start."""
        self.counts: Counter[str] = Counter()
        """Refusals by the name of their error, since the start."""
        self.listener: Listener
        self.lock: Lock
        """Of this port, and of the publishers beside it."""
        self.on_room_message: Callable[[Connection, Join | Recover], None]
        self.on_broker_message: Callable[[Connection, Message], None] | None = None
        self.on_cluster_message: Callable[[Connection, ClusterMessage], None] | None = None
        self.on_begin: Callable[[float], None] = _nothing
        """Called as each turn begins, before anything is heard."""
        self.on_flush: Callable[[], None]
        self.backlog = Backlog[Connection]()
        """What waits for those who do not read."""
        self._connections: dict[bytes, Connection] = {}
        self._alarms: Alarms[tuple[Callable[..., None], tuple[Any, ...]]] = Alarms()
        self._armed: asyncio.TimerHandle | None = None
        self._standstill = Standstill()
        self._unheard_from = float("-inf")
        """When connections may again be cut because nothing was heard of them."""
        self._emptied = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._next_ref = int.from_bytes(entropy(4), "big") >> 2 or 1

    def open(self, network: Network, host: str, port: int, lock: Lock | None = None) -> None:
        """Bind. Raises what ``Network.listen`` raises."""
        self.lock = replace(lock or Lock(), porter=self.book)
        self.listener = network.listen(host, port, self, self.limits.upload, self.lock)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    def __len__(self) -> int:
        return len(self._connections)

    def begin(self, now: float) -> None:
        """See ``ListenerSink.begin``."""
        self.now = now
        self.in_turn = True
        self.on_begin(now)

    def accept(self, peer: bytes, address: str, vouched: Vouched = NOBODY) -> PeerSink:
        """See ``ListenerSink.accept``."""
        connection = self._connections[peer] = self._make(self, peer, address, self.now, vouched)
        return connection

    def flush(self) -> None:
        """See ``ListenerSink.flush``."""
        try:
            self.on_flush()
        finally:
            self.in_turn = False

    def wake(self) -> None:
        """Have a turn soon, unless this is one."""
        if not self.in_turn:
            self.listener.wake()

    def failed(self, address: str) -> None:
        """Somebody from there showed a key, a password or credentials that were refused."""
        self.book.failed(address, self._loop.time())

    def touch(self) -> None:
        """Something happens outside of a turn: look at the clock."""
        if not self.in_turn:
            self.now = self._loop.time()

    def alarm(self, when: float, callback: Callable[..., None], *args: Hashable) -> None:
        """Call back in a turn at ``when``, and not at any time set before for the same callback and arguments."""
        self._alarms.set((callback, args), when)
        if self._armed is None or when < self._armed.when():
            self._arm(when)

    def clear_alarm(self, callback: Callable[..., None], *args: Hashable) -> None:
        """Do not call back."""
        self._alarms.clear((callback, args))

    def close(self) -> None:
        """Close the listener and stop the clock."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        self.listener.close()

    def _arm(self, when: float) -> None:
        if self._armed is not None:
            self._armed.cancel()
        self._armed = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._armed = None
        self.listener.together(self._meet_deadlines)

    def _meet_deadlines(self) -> None:
        self.begin(self._loop.time())
        try:
            for callback, args in self._alarms.due(self.now + _SLACK):
                callback(*args)
        finally:
            self.flush()
            when = self._alarms.next()
            if when is not None and (self._armed is None or when < self._armed.when()):
                self._arm(when)

    def new_ref(self) -> int:
        """A reference that was never given before (in 2^31 of them)."""
        self._next_ref = (self._next_ref + 1) & 0x7FFFFFFF or 1
        return self._next_ref

    def hang_up(self, connection: Connection) -> None:
        """Close a connection; everybody on it hears so at once."""
        if self._connections.get(connection.peer) is connection:
            self.listener.cut(connection.peer)
            connection.gone()

    def give_up(self, connection: Connection) -> None:
        """Too much waits for it. It comes back, and gets what it missed."""
        self.counts["too slow"] += 1
        self.backlog.forget(connection)
        self.hang_up(connection)

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self.backlog.forget(connection)
        if self._connections.get(connection.peer) is connection:
            del self._connections[connection.peer]
            if not self._connections:
                self._emptied.set()

    async def emptied(self, within: float) -> None:
        """Wait until everybody has hung up, at most ``within`` seconds: who is hung up on may miss the last words."""
        if self._connections:
            self._emptied.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._emptied.wait()

    def sweep(self, now: float) -> None:
        """Give up the connections that were silent for too long. To be called once a second.

        Where this process was held up, what was said meanwhile may still be unread: that time is no silence.
        """
        missed = self._standstill.missed(now)
        if missed:
            self._unheard_from = now + _UNHEARD
            for connection in self:
                connection.excuse(missed, now)
        oldest = now - self.limits.ping_timeout
        if now >= self._unheard_from:
            self.listener.cut_silent(max(oldest, now - _UNHEARD))
        strangest = now - self.book.limits.stranger_time
        for connection in self:
            if connection.refs or (connection.desk is not None and connection.desk.trusted):
                connection.useful = now
            if connection.seen <= oldest:
                connection.say(Goodbye(0, int(Code.CONNECTION_TIMED_OUT), ConnectionTimedOut.meaning))
                self.hang_up(connection)
            elif connection.useful <= strangest:
                self.counts["stranger"] += 1
                connection.say(Goodbye(0, int(Code.CONNECTION_TIMED_OUT), "nobody became a client here in time"))
                self.hang_up(connection)


def _nothing(now: float) -> None:
    pass
