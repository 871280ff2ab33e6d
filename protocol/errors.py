"""Every error that this package raises, and the codes that cross the wire.

    ServerRoomError
    ├── UsageError                the caller's mistake: nothing was sent or changed
    │   ├── PayloadError            data that can't be encoded, or is too large
    │   ├── RuleSetError            a ruleset of wrong types or sizes
    │   ├── TicketError             a ticket that its queue does not allow
    │   ├── ConfigError             a server, room type or option that makes no sense
    │   ├── NotInRoomError          the room is left or closed
    │   └── ClientClosedError       the client was closed, or was never opened
    ├── IllegalTransition         a life cycle got an event that its state does not know
    ├── BrokerUnreachable         nobody answered at the address
    ├── CredentialsError          the credentials that a client was to show could not be had
    ├── TimedOut                  an answer did not come in time
    ├── Backpressure              too much is sent and not acknowledged
    ├── AddressInUse              the port is taken
    └── RemoteError               what the other side said, or did: one class for each code
        ├── RequestError            1000-1999: one request failed, the connection is fine
        ├── TemporaryClose          2000-2999: closed; coming back makes sense
        └── FinalClose              3000-3999: closed; coming back does not

Local misuse and remote misbehaviour never share a class. Errors carry fields;
the sentence that a person reads is made from them in one place.
"""

from enum import IntEnum
from typing import ClassVar

__all__ = [
    "AddressInUse",
    "AlreadyWaiting",
    "AuthRefused",
    "AuthUnavailable",
    "Backpressure",
    "BadFilter",
    "BadMessage",
    "BadPayload",
    "BelowMinimum",
    "BrokerUnreachable",
    "CapacityReached",
    "ClientClosedError",
    "Code",
    "ConfigError",
    "ConnectionTimedOut",
    "CredentialsError",
    "CredentialsWanted",
    "Displaced",
    "FinalClose",
    "GraceExpired",
    "HandlerFailed",
    "IllegalTransition",
    "InRoom",
    "JoinRefused",
    "Kicked",
    "Left",
    "MatchCancelled",
    "MatchExpired",
    "NoHandler",
    "NoWorker",
    "NotAMember",
    "NotForSpectators",
    "NotInRoomError",
    "NotLeader",
    "PartyFull",
    "PartyNotFound",
    "PayloadError",
    "ProtocolViolation",
    "RateLimited",
    "RemoteError",
    "RequestError",
    "RequestRefused",
    "ReservationRefused",
    "RoomBusy",
    "RoomClosed",
    "RoomFailed",
    "RoomFull",
    "RoomLocked",
    "RoomNotFound",
    "RuleSetError",
    "ServerRoomError",
    "ServerStopping",
    "SessionEnded",
    "SessionUnknown",
    "StaleGeneration",
    "TemporaryClose",
    "TicketError",
    "TicketRefused",
    "TimedOut",
    "TooLarge",
    "TooSlow",
    "UnknownKind",
    "UnknownQueue",
    "UnknownRoomType",
    "UplinkGap",
    "UsageError",
    "VersionMismatch",
    "WorkerDrained",
    "WorkerLost",
    "WorkerRefused",
    "WrongKey",
    "WrongPassword",
    "error_for",
]


class Code(IntEnum):
    """The number that says what went wrong. Its thousands say what to do next."""

    BAD_MESSAGE = 1000
    UNKNOWN_KIND = 1001
    TOO_LARGE = 1002
    RATE_LIMITED = 1003
    NOT_A_MEMBER = 1004
    UPLINK_GAP = 1005
    ROOM_BUSY = 1006
    IN_ROOM = 1007
    CAPACITY_REACHED = 1008
    UNKNOWN_ROOM_TYPE = 1010
    ROOM_NOT_FOUND = 1011
    ROOM_FULL = 1012
    ROOM_LOCKED = 1013
    ROOM_FAILED = 1014
    RESERVATION_REFUSED = 1015
    JOIN_REFUSED = 1016
    NO_WORKER = 1017
    CREDENTIALS_WANTED = 1018
    MATCH_EXPIRED = 1020
    MATCH_CANCELLED = 1021
    ALREADY_WAITING = 1022
    UNKNOWN_QUEUE = 1023
    TICKET_REFUSED = 1024
    PARTY_NOT_FOUND = 1025
    PARTY_FULL = 1026
    NOT_LEADER = 1027
    WRONG_PASSWORD = 1028
    BAD_FILTER = 1029
    NO_HANDLER = 1030
    HANDLER_FAILED = 1031
    REQUEST_REFUSED = 1032
    BAD_PAYLOAD = 1033
    NOT_FOR_SPECTATORS = 1034

    SERVER_STOPPING = 2000
    CONNECTION_TIMED_OUT = 2001
    AUTH_UNAVAILABLE = 2002
    ROOM_CLOSED = 2100
    BELOW_MINIMUM = 2101
    WORKER_LOST = 2102
    WORKER_DRAINED = 2103
    TOO_SLOW = 2104

    VERSION_MISMATCH = 3000
    SESSION_UNKNOWN = 3001
    DISPLACED = 3002
    PROTOCOL_VIOLATION = 3003
    SESSION_ENDED = 3004
    WRONG_KEY = 3005
    WORKER_REFUSED = 3006
    STALE_GENERATION = 3007
    AUTH_REFUSED = 3008
    LEFT = 3100
    KICKED = 3101
    GRACE_EXPIRED = 3102


class ServerRoomError(Exception):
    """Base of every error of this package."""


class UsageError(ServerRoomError):
    """The caller's mistake. Nothing was sent, nothing changed."""


class PayloadError(UsageError):
    """Data that msgpack can't encode, or that is over a limit."""


class RuleSetError(UsageError):
    """A ruleset of wrong types or sizes."""


class TicketError(UsageError):
    """A ticket asks for what its queue does not allow; the sentence says what it does allow."""


class ConfigError(UsageError):
    """A server, room type or option that makes no sense."""


class NotInRoomError(UsageError):
    """The room was left or closed; nothing more can be sent to it."""


class ClientClosedError(UsageError):
    """The client was closed, or was never opened."""


class IllegalTransition(ServerRoomError):
    """A life cycle got an event that its state does not know."""

    def __init__(self, machine: str, state: object, event: object) -> None:
        super().__init__(f"{machine}: no {event} while {state}")
        self.machine = machine
        self.state = state
        self.event = event


class BrokerUnreachable(ServerRoomError):
    """Nobody answered at ``address`` within ``waited`` seconds."""

    def __init__(self, address: str, waited: float, attempts: int, reason: str = "") -> None:
        tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
        super().__init__(
            f"no broker let us in at {address} within {waited:.1f} s ({tries}): {reason}."
            if reason
            else f"no broker answered at {address} within {waited:.1f} s ({tries}). "
            "Is it running, and are host and port right? 'srs serve module:attr' starts one."
        )
        self.reason = reason
        """What its lock has to do with it; empty: nothing."""
        self.address = address
        self.waited = waited
        self.attempts = attempts


class CredentialsError(ServerRoomError):
    """The function that gives a client's credentials raised; its error is the cause."""


class TimedOut(ServerRoomError, TimeoutError):
    """``what`` did not come within ``waited`` seconds. What was asked may still happen."""

    def __init__(self, what: str, waited: float) -> None:
        super().__init__(f"no {what} within {waited:.1f} s")
        self.what = what
        self.waited = waited


class Backpressure(ServerRoomError):
    """``unacked`` messages are sent and not acknowledged; the room is too slow or gone."""

    def __init__(self, unacked: int) -> None:
        super().__init__(f"{unacked} messages are not acknowledged yet: send less, or wait with ack=True")
        self.unacked = unacked


class AddressInUse(ServerRoomError):
    """Another program holds ``address``."""

    def __init__(self, address: str) -> None:
        super().__init__(f"{address} is in use by another program. Stop that one, or choose another port.")
        self.address = address


class RemoteError(ServerRoomError):
    """What the other side said or did. ``code`` is its number on the wire, ``text`` its sentence."""

    code: int
    meaning: ClassVar[str] = "the other side reported an error"

    def __init__(self, text: str = "", data: object = None) -> None:
        # Hooks raise these: whatever they call a text, there is one that can be sent.
        self.text = str(text or self.meaning).encode("utf-8", "replace").decode()
        super().__init__(self.text)
        self.data = data


class RequestError(RemoteError):
    """One request failed; the connection and everything else are fine."""


class TemporaryClose(RemoteError):
    """Closed, and coming back makes sense."""


class FinalClose(RemoteError):
    """Closed, and coming back the same way does not make sense."""


class BadMessage(RequestError):
    """The message is not what the protocol describes."""

    code = Code.BAD_MESSAGE
    meaning = "the message is malformed"


class UnknownKind(RequestError):
    """No message has this kind, or not in this direction."""

    code = Code.UNKNOWN_KIND
    meaning = "unknown kind of message"


class TooLarge(RequestError):
    """A frame or a part of it is over a limit."""

    code = Code.TOO_LARGE
    meaning = "the message is over a limit"


class RateLimited(RequestError):
    """More messages a second than allowed; this one was not applied."""

    code = Code.RATE_LIMITED
    meaning = "too many messages a second; this one was dropped"


class NotAMember(RequestError):
    """The reference names no session or membership of this connection."""

    code = Code.NOT_A_MEMBER
    meaning = "not a member (any more)"


class UplinkGap(RequestError):
    """A message's number is not the next one; ``data`` is the number expected."""

    code = Code.UPLINK_GAP
    meaning = "a message before this one is missing"


class RoomBusy(RequestError):
    """The room has too many events waiting; this one was not applied."""

    code = Code.ROOM_BUSY
    meaning = "the room is too busy; this message was dropped"


class InRoom(RequestError):
    """A message for the server from a client who is in a room; it was not applied."""

    code = Code.IN_ROOM
    meaning = "the server listens only to clients who are in no room"


class CapacityReached(RequestError):
    """The server has as many sessions, tickets or rooms as it takes."""

    code = Code.CAPACITY_REACHED
    meaning = "the server is full"


class UnknownRoomType(RequestError):
    """No room type has this name."""

    code = Code.UNKNOWN_ROOM_TYPE
    meaning = "no such room type"


class RoomNotFound(RequestError):
    """No room has this id, or it has ended."""

    code = Code.ROOM_NOT_FOUND
    meaning = "no such room"


class RoomFull(RequestError):
    """Every seat is taken or reserved."""

    code = Code.ROOM_FULL
    meaning = "the room is full"


class RoomLocked(RequestError):
    """The room takes no new members."""

    code = Code.ROOM_LOCKED
    meaning = "the room is locked"


class RoomFailed(RequestError):
    """The room could not be made: its ``on_create`` raised."""

    code = Code.ROOM_FAILED
    meaning = "the room could not be made: the server's log says why"


class ReservationRefused(RequestError):
    """The seat reservation is unknown, used or expired."""

    code = Code.RESERVATION_REFUSED
    meaning = "the seat reservation is unknown, used or expired"


class JoinRefused(RequestError):
    """The room's ``on_join`` raised. Raise it there to choose the sentence."""

    code = Code.JOIN_REFUSED
    meaning = "the room refused to let this client in"


class NoWorker(RequestError):
    """No worker hosts rooms of this type, or none is free for one."""

    code = Code.NO_WORKER
    meaning = "no worker hosts this room type"


class CredentialsWanted(RequestError):
    """A session is taken back whose broker was started anew: it has to hear once more who this is."""

    code = Code.CREDENTIALS_WANTED
    meaning = "the server was started anew and asks for the credentials again"


class MatchExpired(RequestError):
    """The ticket's deadline passed without a match."""

    code = Code.MATCH_EXPIRED
    meaning = "no match within the deadline"


class MatchCancelled(RequestError):
    """The ticket was cancelled."""

    code = Code.MATCH_CANCELLED
    meaning = "the match was cancelled"


class AlreadyWaiting(RequestError):
    """This session has a ticket already."""

    code = Code.ALREADY_WAITING
    meaning = "this client is waiting for a match already"


class UnknownQueue(RequestError):
    """The server has no queue of this name."""

    code = Code.UNKNOWN_QUEUE
    meaning = "no such queue"


class TicketRefused(RequestError):
    """The queue does not take this ticket, or has waited with it for as long as it does."""

    code = Code.TICKET_REFUSED
    meaning = "the queue does not take this ticket"


class PartyNotFound(RequestError):
    """This session is in no party, or nobody invites with this code."""

    code = Code.PARTY_NOT_FOUND
    meaning = "no such party"


class PartyFull(RequestError):
    """The party takes nobody more."""

    code = Code.PARTY_FULL
    meaning = "the party is full"


class NotLeader(RequestError):
    """Only the leader of a party may do this."""

    code = Code.NOT_LEADER
    meaning = "only the party's leader may do this"


class NotForSpectators(RequestError):
    """Who only looks on may not do this: the room's handler does not take it from spectators."""

    code = Code.NOT_FOR_SPECTATORS
    meaning = "this client only looks on: the room takes that from players"


class WrongPassword(RequestError):
    """The room has a password, and this is not it. Guesses are answered slowly in the end."""

    code = Code.WRONG_PASSWORD
    meaning = "this room has a password, and this is not it"


class BadFilter(RequestError):
    """A filter for rooms that is none, or asks for too much; the sentence says what is allowed."""

    code = Code.BAD_FILTER
    meaning = "this is no filter for rooms"


class NoHandler(RequestError):
    """The room has no ``@on_request`` of this name."""

    code = Code.NO_HANDLER
    meaning = "the room answers no request of this name"


class HandlerFailed(RequestError):
    """The room's handler raised something unexpected; the room's log has the traceback."""

    code = Code.HANDLER_FAILED
    meaning = "the room failed while handling this request"


class RequestRefused(RequestError):
    """Raised in an ``@on_request`` handler to answer with an error: ``text`` and ``data`` reach the client."""

    code = Code.REQUEST_REFUSED
    meaning = "the room refused the request"


class BadPayload(RequestError):
    """The data does not fit the type that the handler declares."""

    code = Code.BAD_PAYLOAD
    meaning = "the data has the wrong shape"


class ServerStopping(TemporaryClose):
    """The server is shutting down."""

    code = Code.SERVER_STOPPING
    meaning = "the server is stopping"


class ConnectionTimedOut(TemporaryClose):
    """Nothing was heard for too long."""

    code = Code.CONNECTION_TIMED_OUT
    meaning = "nothing was heard for too long"


class AuthUnavailable(TemporaryClose):
    """The server can't tell just now who this client is: ``on_auth`` failed, took too long, or is too busy."""

    code = Code.AUTH_UNAVAILABLE
    meaning = "the server can't check just now who this client is"


class RoomClosed(TemporaryClose):
    """The room ended."""

    code = Code.ROOM_CLOSED
    meaning = "the room closed"


class BelowMinimum(TemporaryClose):
    """The room closed because too few members were left."""

    code = Code.BELOW_MINIMUM
    meaning = "the room closed: too few members were left"


class WorkerLost(TemporaryClose):
    """The process that hosted the room is gone, and the room with it."""

    code = Code.WORKER_LOST
    meaning = "the room is gone: its worker was lost"


class WorkerDrained(TemporaryClose):
    """The room's worker is being taken out of service."""

    code = Code.WORKER_DRAINED
    meaning = "the room closed: its worker is taken out of service"


class TooSlow(TemporaryClose):
    """The member took what the room said too slowly, and this room closes on those: see ``Room.slow_members``."""

    code = Code.TOO_SLOW
    meaning = "read too slowly for this room"


class VersionMismatch(FinalClose):
    """No version of the protocol is known to both sides."""

    code = Code.VERSION_MISMATCH
    meaning = "no protocol version is known to both sides: update the older one"


class SessionUnknown(FinalClose):
    """The session has ended, or the resume token is not its own."""

    code = Code.SESSION_UNKNOWN
    meaning = "the session has ended, or this is not its resume token"


class Displaced(FinalClose):
    """The session was taken back on another connection."""

    code = Code.DISPLACED
    meaning = "the session continues on another connection"


class ProtocolViolation(FinalClose):
    """The peer broke a rule that no honest peer breaks."""

    code = Code.PROTOCOL_VIOLATION
    meaning = "protocol violation"


class SessionEnded(FinalClose):
    """The session was ended on purpose."""

    code = Code.SESSION_ENDED
    meaning = "the session was ended"


class WrongKey(FinalClose):
    """The cluster key is not the broker's."""

    code = Code.WRONG_KEY
    meaning = "this is not the broker's cluster key"


class WorkerRefused(FinalClose):
    """The broker does not take this worker: its name, endpoint or description is wrong."""

    code = Code.WORKER_REFUSED
    meaning = "the broker does not take this worker"


class StaleGeneration(FinalClose):
    """A newer registration has taken this one's place, or its lease has ended."""

    code = Code.STALE_GENERATION
    meaning = "this registration is over: its lease has ended, or a newer one has taken its place"


class AuthRefused(FinalClose):
    """The server does not take these credentials. Raise it in ``Server.on_auth`` to choose the sentence."""

    code = Code.AUTH_REFUSED
    meaning = "the server does not let this client in"


class Left(FinalClose):
    """The member left by its own wish."""

    code = Code.LEFT
    meaning = "left"


class Kicked(FinalClose):
    """The room removed the member."""

    code = Code.KICKED
    meaning = "removed by the room"


class GraceExpired(FinalClose):
    """The member was away for longer than the room's ``reconnect_grace``."""

    code = Code.GRACE_EXPIRED
    meaning = "away for longer than the grace period"


def _leaves(base: type[RemoteError]) -> list[type[RemoteError]]:
    return [leaf for sub in base.__subclasses__() for leaf in (_leaves(sub) or [sub])]


_BY_CODE = {int(leaf.code): leaf for leaf in _leaves(RemoteError)}


def error_for(code: int, text: str = "", data: object = None) -> RemoteError:
    """The error that ``code`` stands for.

    A code that this version does not know becomes the base class of its range,
    so that a newer peer's codes still say whether to come back.
    """
    if known := _BY_CODE.get(code):
        return known(text, data)
    base = {1: RequestError, 2: TemporaryClose}.get(code // 1000, FinalClose)
    unknown = base(text or f"code {code}", data)
    unknown.code = code
    return unknown
