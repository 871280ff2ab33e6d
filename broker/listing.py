"""Live lists of rooms: who watches which, and what each is told when a room comes, changes or goes.

Those who watch the same (a type, a filter) share one *view*: what is shown, a
place that counts the changes, and the last of these. A change of a room is judged
once by each view of its type, however many watch, and all changes of a moment
together; what is too much for a moment is left to the next. How many lists one
session watches is bounded, and how many different ones there are. Who was away
says the place that it had reached: it gets what it missed, or the whole list anew.
"""

from collections import deque
from collections.abc import Collection
from typing import Any

from ..protocol.alarms import AlarmClock
from ..protocol.codec import pack
from ..protocol.errors import CapacityReached
from ..protocol.filters import Filter
from ..protocol.ids import Entropy, new_epoch
from ..protocol.messages import listed, listed_body
from ..protocol.room_messages import Watch
from .directory import Directory, is_listed, shown
from .sessions import Session

__all__ = ["ADDED", "CHANGED", "REMOVED", "RESET", "Listing"]

RESET, ADDED, CHANGED, REMOVED = range(4)
"""First element of a change."""

_PAUSE = 0.05
"""Seconds between two messages about one list: what happens meanwhile is told together, and a room that came and went
is not told of."""
_MOST_SHOWN = 500
"""Rooms of one list. Of more that fit, which are shown is left open."""
_FILL_BELOW = 375
_KEPT = 512
"""Changes that a view remembers."""
_MOST_OF_A_SESSION = 4
_MOST_VIEWS = 1024
_MOST_JUDGED = 5000
"""Times that a room is compared with a filter before the loop is let go for a pause: some milliseconds."""
_UNWATCHED = 60.0
"""Seconds that a view outlives its last watcher: for those who come back."""
_MOST_BYTES = 192 * 1024
"""Of the changes in one message: below what a frame may have."""

Change = list[Any]
"""The kind, and the room as it is now; of one that is gone, ``room`` alone."""


class _View:
    """What all who watch the same see."""

    __slots__ = ("epoch", "history", "more", "place", "shown", "type", "watchers", "where")

    def __init__(self, type_name: str | None, where: Filter, epoch: int) -> None:
        self.type = type_name
        self.where = where
        self.epoch = epoch
        self.place = 0
        """Changes so far."""
        self.shown: dict[str, dict[str, Any]] = {}
        self.history: deque[Change] = deque(maxlen=_KEPT)
        """The last changes, up to ``place``."""
        self.watchers: dict[tuple[Session, int], None] = {}
        self.more = False
        """Rooms that fit are left out, as there are too many."""

    def look_at(self, room: str, entry: dict[str, Any] | None) -> Change | None:
        """A room may have changed; how that shows. None as its entry: lists do not show it, or it is gone."""
        known = self.shown.get(room)
        fits = entry is not None and self.where.fits(entry["metadata"])
        if known is None:
            if not fits:
                return None
            if len(self.shown) >= _MOST_SHOWN:
                self.more = True
                return None
            assert entry is not None
            self.shown[room] = entry
            return [ADDED, entry]
        if not fits:
            del self.shown[room]
            return [REMOVED, {"room": room}]
        if entry == known:
            return None
        assert entry is not None
        self.shown[room] = entry
        return [CHANGED, entry]

    def fill(self, directory: Directory) -> list[Change]:
        """Show rooms that were left out; how that shows."""
        self.more = False
        changes: list[Change] = []
        for report in directory.of_type(self.type):
            if report.room not in self.shown and self.where.fits(report.metadata):
                change = self.look_at(report.room, shown(report))
                if change is not None:
                    changes.append(change)
                if self.more:
                    break
        return changes

    def remember(self, changes: list[Change]) -> None:
        self.history.extend(changes)
        self.place += len(changes)

    def missed(self, epoch: int, offset: int) -> list[Change] | None:
        """What somebody at that place has missed; None: that is gone, or it never was here."""
        count = self.place - offset
        if epoch != self.epoch or not 0 <= count <= len(self.history):
            return None
        return list(self.history)[len(self.history) - count :]


class Listing:
    """All live lists.

    Args:
        directory: which rooms there are. Its ``on_change`` is ours.
        out: where to write.
        entropy: where epochs come from.
    """

    def __init__(self, directory: Directory, out: AlarmClock, entropy: Entropy) -> None:
        self._directory = directory
        self._out = out
        self._entropy = entropy
        self._views: dict[tuple[str | None, bytes], _View] = {}
        self._of_type: dict[str | None, dict[_View, None]] = {}
        self._of_session: dict[Session, dict[int, _View]] = {}
        self._changed: dict[tuple[str, str], None] = {}
        """Rooms that have changed since the last telling, with the type that each had or has."""
        self._due = False
        directory.on_change = self._room_changed

    def __len__(self) -> int:
        """Lists that somebody watches, or did lately."""
        return len(self._views)

    def watch(self, session: Session, message: Watch) -> None:
        """Tell a session of these rooms from now on. Asked again, from the place that it says.

        Raises:
            BadFilter: that is no filter.
            CapacityReached: it watches as many lists as it may, or all together do.
        """
        where = Filter(message.filter)
        mine = self._of_session.setdefault(session, {})
        view = self._views.get((message.type, where.key))
        before = mine.get(message.ask)
        try:
            if before is None and len(mine) >= _MOST_OF_A_SESSION:
                raise CapacityReached(f"a client watches at most {_MOST_OF_A_SESSION} lists of rooms: close one")
            if view is None:
                view = self._make(message.type, where)
        except CapacityReached:
            if not mine:
                del self._of_session[session]
            raise
        if before is not None and before is not view:
            self._leave(before, session, message.ask)
        self.tell()  # what is about to be told is in the list that it gets
        self._out.clear_alarm(self._drop, view)
        mine[message.ask] = view
        view.watchers[session, message.ask] = None
        missed = view.missed(message.epoch, message.offset)
        if missed is None:
            self._say_all(view, session, message.ask)
        else:
            self._say(view, [(session, message.ask)], message.offset, missed)

    def unwatch(self, session: Session, ask: int) -> None:
        """It does not want that list any more."""
        mine = self._of_session.get(session, {})
        view = mine.pop(ask, None)
        if view is not None:
            self._leave(view, session, ask)
        if not mine:
            self._of_session.pop(session, None)

    def gone(self, session: Session) -> None:
        """Its connection is lost, or it has ended. Who comes back asks again."""
        for ask, view in self._of_session.pop(session, {}).items():
            self._leave(view, session, ask)

    def tell(self) -> None:
        """Tell everybody what has changed, or as much of it as may be judged at once."""
        self._due = False
        self._out.clear_alarm(self.tell)
        told: dict[_View, list[Change]] = {}
        judged = 0
        while self._changed and judged < _MOST_JUDGED:
            room, type_name = next(iter(self._changed))
            del self._changed[room, type_name]
            entry = self._directory.get(room)
            now = shown(entry.report) if entry is not None and is_listed(entry.report) else None
            of_type = now if now is not None and now["type"] == type_name else None
            for of, there in ((type_name, of_type), (None, now)):
                views = self._of_type.get(of, ())
                judged += len(views)
                for view in views:
                    change = view.look_at(room, there)
                    if change is not None:
                        told.setdefault(view, []).append(change)
        for view, changes in told.items():
            if view.more and len(view.shown) < _FILL_BELOW:
                changes.extend(view.fill(self._directory))
            place = view.place
            view.remember(changes)
            self._say(view, view.watchers, place, changes)
        self._tell_soon()

    def _room_changed(self, room: str, type_name: str) -> None:
        if self._views:
            self._changed[room, type_name] = None
            self._tell_soon()

    def _tell_soon(self) -> None:
        if self._changed and not self._due:
            self._due = True
            self._out.alarm(self._out.now + _PAUSE, self.tell)

    def _make(self, type_name: str | None, where: Filter) -> _View:
        if len(self._views) >= _MOST_VIEWS:
            idle = next((view for view in self._views.values() if not view.watchers), None)
            if idle is None:
                raise CapacityReached(
                    f"clients watch {_MOST_VIEWS} different lists of rooms already: use such a filter, or ask once"
                )
            self._drop(idle)
        view = self._views[type_name, where.key] = _View(type_name, where, new_epoch(self._entropy))
        self._of_type.setdefault(type_name, {})[view] = None
        view.fill(self._directory)
        return view

    def _leave(self, view: _View, session: Session, ask: int) -> None:
        del view.watchers[session, ask]
        if not view.watchers:
            self._out.alarm(self._out.now + _UNWATCHED, self._drop, view)

    def _drop(self, view: _View) -> None:
        self._out.clear_alarm(self._drop, view)
        del self._views[view.type, view.where.key]
        views = self._of_type[view.type]
        del views[view]
        if not views:
            del self._of_type[view.type]

    def _say_all(self, view: _View, session: Session, ask: int) -> None:
        told = 0
        for part in _parts([[ADDED, entry] for entry in view.shown.values()]):
            # Each part says how many came before it: so a part that is lost is missed, whatever comes next.
            begin = [RESET, {"rooms": len(view.shown), **({"from": told} if told else {})}]
            session.say_frame(listed(session.ref, ask, listed_body(view.epoch, view.place, [pack(begin), *part])))
            told += len(part)

    def _say(self, view: _View, watchers: Collection[tuple[Session, int]], place: int, changes: list[Change]) -> None:
        for part in _parts(changes):
            body = listed_body(view.epoch, place, part)
            for session, ask in list(watchers):
                session.say_frame(listed(session.ref, ask, body))
            place += len(part)


def _parts(changes: list[Change]) -> list[list[bytes]]:
    """The changes, encoded, in as many messages as they need: at least one."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for change in changes:
        encoded = pack(change)
        if parts[-1] and size + len(encoded) > _MOST_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(encoded)
        size += len(encoded)
    return parts
