"""The reception: who is here, and what server and clients say to each other outside of rooms."""

from collections.abc import Callable
from typing import Any, Protocol

from ..protocol.alarms import AlarmClock
from ..protocol.codec import check_type_name, pack_payload
from ..protocol.errors import (
    CapacityReached,
    Code,
    CredentialsWanted,
    Displaced,
    InRoom,
    NoHandler,
    RoomBusy,
    ServerStopping,
    SessionEnded,
    SessionUnknown,
)
from ..protocol.ids import Entropy, new_epoch
from ..protocol.limits import Limits
from ..protocol.messages import HEAD_SIZE, VERSION, Goodbye, Hello, Item, Reset, Resume, Welcome, encode
from ..protocol.names import ClientData
from ..protocol.rates import TokenBucket
from ..protocol.streams import HistoryLimits, Position
from ..rooms.fanout import FramesOut, UnicastFanout
from ..rooms.patience import SHORTEST_PAUSE
from ..rooms.standstill import respite
from ..rooms.uplink import Caller
from ..transport.network import Sent
from .auth import Admission
from .sessions import Session, Sessions, SessionState

__all__ = ["Reception", "ReceptionOutbox", "Regulars"]

_MOST_SESSIONS_OF_A_CONNECTION = 256


class ReceptionOutbox(FramesOut, AlarmClock, Protocol):
    """Where the reception writes what must happen, besides what it says to clients."""

    def flush_later(self) -> None:
        """Call ``flush`` before this turn ends."""

    def application_message(self, session: Session, name: str, data: Any) -> bool:
        """Let the server's owner handle it. False: too many wait."""
        ...

    def after_application(self, then: Callable[[], None]) -> None:
        """Do something when the messages given before are handled."""


class Regulars(Protocol):
    """Who wants to know when sessions come and go."""

    def away(self, session: Session) -> None:
        """Its connection is lost, or about to be replaced."""

    def back(self, session: Session) -> None:
        """It is on a connection again."""

    def over(self, session: Session) -> None:
        """It has ended."""


class Reception:
    """Opens, resumes and ends sessions, and carries what is said outside of rooms.

    Args:
        announced: what each client may do.
        out: where to write.
        entropy: where ids and secrets come from.
        regulars: told when sessions come and go.
        sessions: their table.
        grace: seconds that a session outlives its connection.
        admission: asks who newcomers are. None: nobody is asked.
    """

    def __init__(
        self,
        announced: Limits,
        out: ReceptionOutbox,
        entropy: Entropy,
        regulars: Regulars,
        sessions: Sessions,
        grace: float,
        admission: Admission | None = None,
    ) -> None:
        self.sessions = sessions
        self.stopping = False
        self._retrying = False
        self._limits = announced
        self._out = out
        self._regulars = regulars
        self._grace = grace
        self._admission = admission
        self._announced = announced.to_wire()
        # What the server says to clients is direct messages alone: no broadcasts, no history of them.
        self._fanout = UnicastFanout(new_epoch(entropy), HistoryLimits(count=1), announced.download)

    # Coming and going.

    def hello(self, connection: Caller, message: Hello) -> None:
        if not self._may_enter(connection, message.versions):
            return
        if len(connection.sessions) >= _MOST_SESSIONS_OF_A_CONNECTION:
            raise CapacityReached(f"a connection carries at most {_MOST_SESSIONS_OF_A_CONNECTION} sessions")
        if self._admission is None:
            self._open(connection, message, connection.vouched.user)
            return
        self.sessions.check_room(connection.address)  # nobody is asked in vain
        credentials = message.options.get("credentials")
        self._admission.ask(connection, message.ask, credentials, lambda who: self._open(connection, message, who))

    def _open(self, connection: Caller, message: Hello, who: Any) -> None:
        if not self._may_enter(connection, message.versions):
            return
        session = self.sessions.open(self._make, connection.address, connection.vouched, who)
        session.enters = message.options.get("enter") is True
        self._welcome(connection, session, message.ask, Position(self._fanout.epoch, 0, 0), resumed=False)

    def resume(self, connection: Caller, message: Resume) -> None:
        if not self._may_enter(connection, message.versions):
            return
        vouched = connection.vouched
        if self._admission is None or not self.sessions.is_strange(message.session, message.token, vouched):
            self._resume(connection, message, vouched.user)
            return
        # Who it is was known to the broker before us alone, unless a worker has told us already.
        if "credentials" not in message.options:
            raise CredentialsWanted
        credentials = message.options["credentials"]
        self._admission.ask(connection, message.ask, credentials, lambda who: self._resume(connection, message, who))

    def _resume(self, connection: Caller, message: Resume, who: Any) -> None:
        if not self._may_enter(connection, message.versions):
            return
        try:
            session = self.sessions.resume(
                message.session, message.token, self._make, connection.address, connection.vouched, who
            )
        except SessionUnknown as error:
            connection.say(Goodbye(0, int(error.code), error.text))
            return
        session.enters = message.options.get("enter") is True
        self._displace(session, connection)
        self._out.clear_alarm(self._grace_is_over, session)
        # The epoch of an earlier broker was another: the client sees it, and begins its numbers anew as well. While it
        # shows a token of that broker's, our welcome has not reached it, and the number that it gives is of that epoch.
        direct = 0 if session.adopted else message.direct
        self._welcome(connection, session, message.ask, Position(self._fanout.epoch, 0, direct), resumed=True)
        self._regulars.back(session)

    def adopt(self, session_id: str, client: ClientData) -> Session:
        """A session that a worker has as a member, and that we know nothing of: it has the grace period to come.

        Raises:
            CapacityReached: there are as many as there may be.
        """
        session = self.sessions.adopt(self._make, session_id, client)
        self._keep(session, self._out.now + self._grace)
        return session

    def _make(self, session_id: str, client: ClientData) -> Session:
        limits = self._limits
        return Session(self, session_id, client, TokenBucket(limits.message_rate, limits.message_burst))

    def _may_enter(self, connection: Caller, versions: list[int]) -> bool:
        if self.stopping:
            connection.say(Goodbye(0, int(Code.SERVER_STOPPING), ServerStopping.meaning))
            return False
        if VERSION not in versions:
            connection.say(Goodbye(0, int(Code.VERSION_MISMATCH), f"this server speaks version {VERSION}"))
            return False
        return True

    def _displace(self, session: Session, newcomer: Caller) -> None:
        older = session.connection
        if older is None:
            return
        self._regulars.away(session)
        self._fanout.disconnect(session.line)
        if older is not newcomer:
            older.say(Goodbye(session.ref, int(Code.DISPLACED), Displaced.meaning))
            self._take_off(session, older)
        session.detach()

    def _take_off(self, session: Session, connection: Caller) -> None:
        """The session is not on this connection any more, and neither are its memberships."""
        connection.sessions -= {session.session}
        for ref, uplink in list(connection.refs.items()):
            if uplink.session == session.session and uplink is not session:
                del connection.refs[ref]
                uplink.lost()

    def _welcome(self, connection: Caller, session: Session, ask: int, position: Position, *, resumed: bool) -> None:
        self.flush()
        session.attach(connection)
        connection.sessions |= {session.session}
        self._fanout.connect(session.line, connection.peer, session.ref, position)
        connection.say(
            Welcome(
                ask,
                VERSION,
                session.ref,
                session.session,
                session.token,
                session.id,
                session.ADDRESS,
                position.epoch,
                position.direct,
                session.uplink,
                resumed,
                self._announced,
            )
        )
        self._bring_up(session)

    def lost(self, session: Session) -> None:
        """A session's connection is gone: it has the grace period to come back."""
        self.sessions.drop(session)
        self._fanout.disconnect(session.line)
        self._regulars.away(session)
        session.waits = 0
        self._keep(session, self._out.now + self._grace)

    def end(self, session: Session) -> None:
        """A session is over: its ticket and its memberships as well."""
        connection = session.connection
        if connection is not None:
            for uplink in list(connection.refs.values()):
                if uplink.session == session.session and uplink is not session:
                    uplink.on_leave()
            connection.sessions -= {session.session}
        self._fanout.disconnect(session.line)
        session.detach()
        self.sessions.end(session, self._out.now)
        self._out.clear_alarm(self._grace_is_over, session)
        self._regulars.over(session)

    def dismiss(self, session: Session, text: str) -> None:
        """The server's owner wants a session to end."""
        if session.state is SessionState.ENDED:
            return
        self.flush()  # what was said to it before is still for it
        session.say(Goodbye(session.ref, int(Code.SESSION_ENDED), (text or SessionEnded.meaning)[:512]))
        self.end(session)

    def _keep(self, session: Session, until: float) -> None:
        session.grace_until = until
        self._out.alarm(until, self._grace_is_over, session)

    def _grace_is_over(self, session: Session) -> None:
        if session.state is not SessionState.OFFLINE:
            return
        until = respite(session.grace_until, self._out.now, session.waits, self._grace)
        if until is None:
            self.end(session)
        else:
            session.waits += 1
            self._keep(session, until)

    def say_goodbye(self, code: Code, text: str) -> None:
        """Tell every client that the server stops. Sessions can't be resumed after."""
        self.stopping = True
        self.flush()
        for session in self.sessions:
            session.say(Goodbye(session.ref, int(code), text))

    # What clients say to the server, and the server to clients.

    def message(self, session: Session, name: str, data: Any) -> None:
        """A message for the server's owner, from a client who is in no room."""
        if session.rooms:
            session.refuse(InRoom(), session.uplink)
        elif not self._out.application_message(session, name, data):
            session.refuse(RoomBusy(), session.uplink)

    def request(self, session: Session) -> None:
        """Nobody answers requests outside of rooms."""
        session.refuse(NoHandler("the server answers no requests; rooms do"), session.uplink)

    def acknowledge(self, session: Session) -> None:
        """Tell a client how far its messages are applied, once those before are."""
        number = session.uplink
        self._out.after_application(lambda: session.say_acknowledged(number))

    def direct(self, session: Session, name: str, data: Any) -> None:
        """Say something to one client."""
        check_type_name(name)
        line, limits = session.line, self._limits
        item = pack_payload(
            (int(Item.DIRECT), line.last_direct + 1, name, data), limits.download - HEAD_SIZE, limits.nesting + 1
        )
        self._fanout.waiting = True
        self._out.flush_later()
        if self._fanout.direct(line, item, self._out.now):
            self.flush()

    def flush(self) -> None:
        """Send what was said in this turn."""
        if self._fanout.waiting:
            self._fanout.flush(self._out, self._out.now)
        if self._fanout.behind:
            self._retry_later()

    def _retry_later(self) -> None:
        if not self._retrying:  # whoever talks all the time must not put it off all the time
            self._retrying = True
            self._out.alarm(self._out.now + SHORTEST_PAUSE, self._catch_up)

    def _catch_up(self) -> None:
        self._retrying = False
        self.flush()
        for line in list(self._fanout.behind):
            session = self.sessions.of_client(line.key)
            if session is not None and line.patience.is_due(self._out.now):
                self._try_again(session)
        if self._fanout.behind:
            self._retry_later()

    def _try_again(self, session: Session) -> None:
        line, fanout, connection = session.line, self._fanout, session.connection
        before = line.offset, line.direct
        in_vain = (
            line.patience.begin()
            and connection is not None
            and not connection.clogged
            and not fanout.has_room(line, self._out)
        )
        if not in_vain:
            self._bring_up(session)
        stuck = line.behind and before == (line.offset, line.direct)
        line.patience.end(self._out.now, stuck=stuck, trial_failed=in_vain)

    def _bring_up(self, session: Session) -> None:
        line, fanout, connection = session.line, self._fanout, session.connection
        if connection is None:
            return
        if not connection.clogged and not fanout.can_catch_up(line):
            reset = Reset(session.ref, *fanout.end(line), None)
            if self._out.send(connection.peer, encode(reset)) is Sent.TAKEN:
                fanout.jump(line)
        if connection.clogged or not fanout.catch_up(line, self._out):
            self._retry_later()
