"""Whether everybody heard everything, once, and in one order.

Each bot numbers its messages from 1. A receiver checks the numbers of each
sender as they come. That all members of a room saw one order is checked without
keeping the messages: each receiver sees the offsets of a room only grow, and
sums up, for each sender, a hash of (number, offset); where the sums agree, the
offsets agree, and so does the order.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import NamedTuple

__all__ = ["Account", "Faults", "Heard", "Hearing", "balance", "expected"]

_MASK = (1 << 62) - 1
_MOST_REMEMBERED = 10_000
"""Numbers that are missing, and may still come late, of one sender at one receiver."""


@dataclass(slots=True)
class Faults:
    """What is not as rooms promise, in deliveries."""

    lost: int = 0
    """Never came."""
    doubled: int = 0
    """Came again."""
    disordered: int = 0
    """Came after a later one, or at an offset that was passed already."""
    skipped: int = 0
    """Offsets of a room that a receiver never saw."""
    disagreed: int = 0
    """Senders whose messages stand in another order for some members of the room."""
    crossed: int = 0
    """Came from a bot that is in another room."""

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, each.name) for each in fields(self))

    @property
    def order(self) -> int:
        """Those that are not losses: the wrong order, or too many."""
        return self.doubled + self.disordered + self.disagreed

    def add(self, other: "Faults") -> None:
        """Add another one's counts."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


class Heard(NamedTuple):
    """What one receiver has of one sender; equal for all receivers when all is well."""

    messages: int
    digest: int


class _Voice:
    """One sender, as one receiver hears it."""

    __slots__ = ("count", "digest", "last", "missing")

    def __init__(self) -> None:
        self.count = self.last = self.digest = 0
        self.missing: set[int] = set()


class Hearing:
    """All that one receiver heard in its room.

    Args:
        contiguous: whether it is to see every offset of the room.
    """

    def __init__(self, *, contiguous: bool) -> None:
        self.faults = Faults()
        self._contiguous = contiguous
        self._voices: dict[int, _Voice] = {}
        self._offset: int | None = None

    def at(self, offset: int) -> None:
        """A message that has an offset of its own: a broadcast, or presence."""
        last = self._offset
        self._offset = offset
        if last is None or offset == last + 1:
            return
        if offset <= last:
            self.faults.disordered += 1
            self._offset = last
        elif self._contiguous:
            self.faults.skipped += offset - last - 1

    def hear(self, bot: int, number: int, offset: int) -> bool:
        """A message of a bot; whether it came for the first time."""
        voice = self._voices.get(bot)
        if voice is None:
            voice = self._voices[bot] = _Voice()
        if number != voice.last + 1:
            if number > voice.last:
                first = max(voice.last + 1, number - _MOST_REMEMBERED + len(voice.missing))
                voice.missing.update(range(first, number))
            elif number in voice.missing:
                voice.missing.discard(number)
                self.faults.disordered += 1
            else:
                self.faults.doubled += 1
                return False
        voice.last = max(voice.last, number)
        voice.count += 1
        voice.digest = (voice.digest + hash((number, offset))) & _MASK
        return True

    def heard(self) -> dict[int, Heard]:
        """What came, by sender."""
        return {bot: Heard(voice.count, voice.digest) for bot, voice in self._voices.items()}


class Account(NamedTuple):
    """What one bot sent, and where."""

    room: str
    sent: int


def expected(accounts: dict[int, Account], heard_by: str) -> int:
    """Deliveries that there should be in all."""
    members = Counter(account.room for account in accounts.values())
    return sum(account.sent * _receivers(members[account.room], heard_by) for account in accounts.values())


def balance(
    accounts: dict[int, Account], heard_by: str, heard: Iterable[tuple[str, int, Heard, int]], *, ordered: bool
) -> Faults:
    """Compare what was sent with what came.

    Args:
        accounts: what each bot sent.
        heard_by: who is to hear it: ``all``, ``others`` or ``sender``.
        heard: room, sender, what came, and how many receivers in that room have exactly this.
        ordered: whether offsets are comparable, as those of broadcasts are.
    """
    faults = Faults()
    members = Counter(account.room for account in accounts.values())
    reached: Counter[int] = Counter()
    digests: dict[int, set[int]] = {}
    for room, bot, what, receivers in heard:
        account = accounts.get(bot)
        if account is None or account.room != room:
            faults.crossed += what.messages * receivers
            continue
        reached[bot] += receivers
        faults.lost += max(0, account.sent - what.messages) * receivers
        if what.messages == account.sent:
            digests.setdefault(bot, set()).add(what.digest)
    for bot, account in accounts.items():
        deaf = _receivers(members[account.room], heard_by) - reached[bot]
        faults.lost += max(0, deaf) * account.sent
        faults.doubled += max(0, -deaf) * account.sent
    if ordered:
        faults.disagreed += sum(len(seen) > 1 for seen in digests.values())
    return faults


def _receivers(members: int, heard_by: str) -> int:
    return {"all": members, "others": members - 1, "sender": 1}[heard_by]
