"""The audience of a topic room: which member's downlink stands, and when the room says where its stream ends."""

from typing import TYPE_CHECKING, Any, Protocol

from ..protocol.errors import Code, ConnectionTimedOut
from ..protocol.ids import MEMBER_TOPIC, ROOM_TOPIC, Entropy, mark_of, new_topic
from ..protocol.messages import Goodbye, LeftRoom, Rekeyed, encode
from ..protocol.streams import Position
from .lines import Downlink
from .member import Member
from .topic import TopicFanout

if TYPE_CHECKING:
    from .runner import Runner

__all__ = ["Audience", "DownlinkDesk"]

_OPENING_TIME = 10.0
"""Seconds that a connected member may be without a downlink, before it counts as lost."""
_FAREWELL_TIME = 1.0
"""Seconds that a downlink outlives its room: closing it at once would throw away what is on its way."""


class DownlinkDesk(Protocol):
    """Where tokens for downlinks come from."""

    def offer(self, holder: "DownlinkOfMember") -> tuple[int, bytes]:
        """Port and token for a new downlink."""
        ...

    def revoke(self, token: bytes) -> bool:
        """A token is worth nothing any more. False: its connection could not be closed."""
        ...


class DownlinkOfMember:
    """One token that a member was given, and what became of it."""

    __slots__ = ("_audience", "farewell", "member", "port", "token", "topic")

    def __init__(self, audience: "Audience", member: Member, topic: bytes) -> None:
        self._audience = audience
        self.member = member
        self.topic = topic
        self.port = 0
        self.token = b""
        self.farewell: tuple[Position, bytes] | None = None
        """For a member whose room ended before its downlink stood: where it ended, and LEFT."""

    def topics(self) -> tuple[bytes, bytes]:
        """What the token is worth: the room's topic, and the member's own."""
        return self._audience.fanout.topic, self.topic

    @property
    def owner(self) -> bytes | None:
        """The key of its member's client."""
        return self.member.seat.owner

    def granted(self, downlink: Downlink) -> None:
        """It stands."""
        self._audience.granted(self, downlink)

    def ungranted(self, downlink: Downlink) -> None:
        """It is lost."""
        self._audience.ungranted(self, downlink)


class Audience:
    """The downlinks of one room's members.

    Args:
        runner: the room.
        fanout: its stream.
        desk: where tokens come from.
        entropy: where topics come from.
    """

    __slots__ = ("_beat_at", "_beating", "_desk", "_entropy", "_of", "_runner", "fanout")

    def __init__(self, runner: "Runner", fanout: TopicFanout, desk: DownlinkDesk, entropy: Entropy) -> None:
        self.fanout = fanout
        self._runner = runner
        self._desk = desk
        self._entropy = entropy
        self._of: dict[Member, DownlinkOfMember] = {}
        self._beating = False
        self._beat_at = 0.0

    def offer(self, member: Member) -> list[Any]:
        """What JOINED tells a member of its downlink: the one that stands, or a new one.

        Raises:
            AddressInUse, ConfigError: there is no port for one more publisher.
        """
        known = self._of.get(member)
        if known is not None and member.line.downlink is not None:
            return [known.port, known.token]
        self.part_with(member)
        downlink = DownlinkOfMember(self, member, new_topic(MEMBER_TOPIC, self._entropy))
        downlink.port, downlink.token = self._desk.offer(downlink)
        self._of[member] = downlink
        member.line.mark = mark_of(downlink.token)  # what is shared may be heard before the grant is told
        self._runner.out.alarm(self._runner.out.now + _OPENING_TIME, self._not_opened, member)
        return [downlink.port, downlink.token]

    def part_with(self, member: Member) -> None:
        """A member is gone, or gets another downlink: the one that it had is closed."""
        downlink = self._of.pop(member, None)
        if downlink is None:
            return
        self._runner.out.clear_alarm(self._not_opened, member)
        if member.line.downlink is not None:
            self.fanout.ungrant(member.line, member.line.downlink)
        if not self._desk.revoke(downlink.token):
            self._rekey()

    def granted(self, offered: DownlinkOfMember, downlink: Downlink) -> None:
        """A member's downlink stands: it gets what it missed, and from here on what is said."""
        member = offered.member
        if self._of.get(member) is not offered:
            if offered.farewell is not None:
                self._runner.flush()
                end, left = offered.farewell
                for frame in [*(self.fanout.missed(member.line, downlink.ref, end) or []), left]:
                    self._runner.out.publish(downlink.shard, downlink.topic, frame)
            return
        self._runner.out.clear_alarm(self._not_opened, member)
        self._runner.flush()
        self.fanout.grant(member.line, downlink)
        self.bring_up(member)

    def bring_up(self, member: Member) -> None:
        """Send a member what it missed, or a RESET where that is gone, if its downlink stands. Flush before."""
        # All of it comes down that one connection, in order: a RESET on the other one might be overtaken.
        fanout, out, line = self.fanout, self._runner.out, member.line
        if line.downlink is not None and not fanout.can_catch_up(line):
            reset, seen = self._runner.attendance.reset(member, line.downlink.ref), line.direct
            out.publish(line.downlink.shard, line.downlink.topic, encode(reset))
            fanout.jump(line)
            self._runner.answers.say_again(member, seen)
        fanout.catch_up(line, out)
        self.beat_later()

    def ungranted(self, offered: DownlinkOfMember, downlink: Downlink) -> None:
        """A member's downlink is lost. It notices, and asks for another."""
        member = offered.member
        if self._of.get(member) is offered:
            self.fanout.ungrant(member.line, downlink)
            self._runner.out.alarm(self._runner.out.now + _OPENING_TIME, self._not_opened, member)
        else:
            self._revoke(offered)  # it has heard our farewell

    def say_farewell(self, member: Member, code: int, text: str, end: Position) -> None:
        """The room ends: LEFT follows, on the member's downlink, what it said last. Flush before.

        LEFT on its other connection may overtake that.
        """
        offered = self._of.pop(member, None)
        if offered is None:
            return
        fanout, out, line = self.fanout, self._runner.out, member.line
        ref = line.mark & 0xFFFFFFFF
        left = encode(LeftRoom(ref, code, text, end.offset, end.direct))
        downlink = line.downlink
        if downlink is None:
            offered.farewell = end, left  # not what it missed: with many at once, that would be much
        else:
            out.publish(downlink.shard, downlink.topic, left)
            fanout.ungrant(line, downlink)
        out.clear_alarm(self._not_opened, member)
        out.alarm(out.now + _FAREWELL_TIME, self._revoke, offered)

    def _revoke(self, offered: DownlinkOfMember) -> None:
        self._runner.out.clear_alarm(self._revoke, offered)
        self._desk.revoke(offered.token)  # nothing is published on its topics any more, whether it could be cut or not

    def beat_later(self) -> None:
        """See that whoever lost the end of what was said finds out."""
        out = self._runner.out
        when = self.fanout.next_beat(out.now)
        # The alarm of a room that was silent for long may be far away. A later one is set when an earlier one rings.
        if when is None or (self._beating and self._beat_at <= when):
            return
        if self._beating:
            out.clear_alarm(self._beat, self._beat_at)
        self._beating = True
        self._beat_at = when
        out.alarm(when, self._beat, when)

    def end(self) -> None:
        """The room is over."""
        for member in list(self._of):
            self.part_with(member)
        self._runner.out.clear_alarm(self._beat, self._beat_at)

    def _beat(self, when: float) -> None:
        self._beating = False
        self._runner.flush()
        self.fanout.beat(self._runner.out, max(when, self._runner.out.now))  # alarms may ring a little early
        self.beat_later()

    def _not_opened(self, member: Member) -> None:
        # It hears nothing of the room, so it is not there, whatever else it says.
        connection = member.connection
        if connection is not None and member in self._of and member.line.downlink is None:
            connection.say(Goodbye(0, int(Code.CONNECTION_TIMED_OUT), ConnectionTimedOut.meaning))
            connection.hang_up()

    def _rekey(self) -> None:
        # Who could not be cut keeps the old topic, and hears nothing on it any more. Neither would those whose grant
        # is not told yet: it may be of the old topic, so all get another token.
        self._runner.flush()
        self.fanout.rekey(new_topic(ROOM_TOPIC, self._entropy))
        offers, self._of = self._of, {}
        for member, offered in offers.items():
            self._runner.out.clear_alarm(self._not_opened, member)
            self._desk.revoke(offered.token)
            member.say(Rekeyed(member.ref))
