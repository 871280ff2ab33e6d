"""What stands around a client core in these tests: an outbox that records, a clock, a server to play."""

from collections.abc import Callable
from typing import Any, TypeVar

from server_room_system.client.contact import Contact
from server_room_system.client.core import ClientCore
from server_room_system.client.life import ClientState
from server_room_system.client.membership import Membership
from server_room_system.client.outbox import Answer
from server_room_system.protocol import (
    Ack,
    Assigned,
    Deliver,
    Found,
    Hello,
    Item,
    Join,
    JoinById,
    Joined,
    Kind,
    Limits,
    Listed,
    Message,
    Progress,
    Recover,
    RemoteError,
    Resume,
    Send,
    ServerRoomError,
    Welcome,
    encode,
    parse,
    upload_decoder,
)
from server_room_system.transport import Sent

START = 1000.0
ADDRESS = "tcp://test:1"
SESSION = "5" * 32
HOME_EPOCH = 501

_decode = upload_decoder(Limits())

M = TypeVar("M", bound=Message)


def read(frame: bytes) -> Message:
    """The message that a server makes of a frame."""
    return parse(_decode(frame))


def secret(number: int) -> bytes:
    """A token or reservation that is told from others by its number."""
    return number.to_bytes(16, "big")


def broadcast(data: Any, name: str = "message") -> list[Any]:
    return [int(Item.BROADCAST), name, data]


def direct(number: int, data: Any, name: str = "message") -> list[Any]:
    return [int(Item.DIRECT), number, name, data]


def contact() -> Contact:
    """A server that a membership may be with."""
    return Contact(ADDRESS, FakeOutbox(), lambda: 0.5)


class FakeOutbox:
    """A ClientOutbox that notes every call, and takes frames unless it is told not to."""

    def __init__(self) -> None:
        self.dialled: list[float] = []
        self.dials: list[Contact] = []
        """Whom each attempt was for."""
        self.hung_up = 0
        self.hung_up_on: list[Contact] = []
        self.opened_with: list[bool] = []
        self.interruptions: list[str] = []
        self.fetching: list[int] = []
        """For which openings the application was asked who it is."""
        self.answers: list[tuple[int, Answer | RemoteError]] = []
        self.told_of: list[tuple[int, Progress | Found | Listed]] = []
        self.parties: list[dict[str, Any]] = []
        self.replies: list[tuple[Membership, int, Any, RemoteError | None]] = []
        self.refusals: list[tuple[Membership, int, RemoteError]] = []
        self.progress: list[Membership] = []
        self.misrouted_epochs: list[int] = []
        self.endings: list[ServerRoomError | None] = []
        self.room_for: int | None = None
        """How many more frames the connection takes; None: all."""
        self.now = START
        self.downlinks: dict[str, tuple[int, bytes]] = {}
        """Open ones, by room."""
        self._frames: list[tuple[Contact, bytes]] = []

    def heard(self, by: Contact | None = None) -> list[Message]:
        """What the client said since this was asked last, to one server or to all."""
        frames = [(contact, frame) for contact, frame in self._frames if by in (None, contact)]
        self._frames = [one for one in self._frames if one not in frames]
        return [read(frame) for _, frame in frames]

    def dial(self, contact: Contact) -> None:
        self.dialled.append(self.now)
        self.dials.append(contact)

    def hang_up(self, contact: Contact) -> None:
        self.hung_up += 1
        self.hung_up_on.append(contact)

    def open_downlink(self, membership: Membership, port: int, token: bytes) -> None:
        self.downlinks[membership.room] = (port, token)

    def close_downlink(self, membership: Membership) -> None:
        self.downlinks.pop(membership.room, None)

    def transmit(self, contact: Contact, frame: bytes) -> Sent:
        if self.room_for == 0:
            return Sent.FULL
        if self.room_for is not None:
            self.room_for -= 1
        self._frames.append((contact, frame))
        return Sent.TAKEN

    def fetch_credentials(self, ask: int) -> None:
        self.fetching.append(ask)

    def opened(self, resumed: bool) -> None:
        self.opened_with.append(resumed)

    def interrupted(self, reason: str) -> None:
        self.interruptions.append(reason)

    def told(self, ask: int, message: Progress | Found | Listed) -> None:
        self.told_of.append((ask, message))

    def party_changed(self, party: dict[str, Any]) -> None:
        self.parties.append(party)

    def answered(self, ask: int, answer: Answer | RemoteError) -> None:
        self.answers.append((ask, answer))

    def replied(self, membership: Membership, number: int, reply: Any, error: RemoteError | None) -> None:
        self.replies.append((membership, number, reply, error))

    def refused(self, membership: Membership, number: int, error: RemoteError) -> None:
        self.refusals.append((membership, number, error))

    def progressed(self, membership: Membership) -> None:
        self.progress.append(membership)

    def misrouted(self, epoch: int) -> None:
        self.misrouted_epochs.append(epoch)

    def ended(self, error: ServerRoomError | None) -> None:
        self.endings.append(error)


class Stage:
    """A client core and its outbox; the methods say what the server says, unless they are the client's.

    Args: those of the core.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 5.0,
        reconnect_timeout: float = 30.0,
        inbox: int = 100,
        random: Callable[[], float] = lambda: 0.5,
        credentials: Any = None,
        fetches: bool = False,
    ) -> None:
        self.out = FakeOutbox()
        self.core = ClientCore(
            ADDRESS,
            self.out,
            random,
            connect_timeout,
            reconnect_timeout,
            "test",
            inbox,
            credentials,
            fetches=fetches,
        )
        self.now = START
        self._secrets = 0
        self._refs = 100

    # Time.

    def advance(self, seconds: float) -> None:
        """Let time pass; the core is called when it asked to be."""
        end = self.now + seconds
        while True:
            self.out.now = self.now
            when = self.core.tick(self.now)
            if when is None or when > end or self.core.state is ClientState.CLOSED:
                break
            assert when > self.now, "the core asks to be called at once, again and again"
            self.now = when
        self.now = self.out.now = end

    def advance_to_dial(self) -> None:
        """Let time pass until the client connects again, and the connection stands."""
        before = len(self.out.dialled)
        while len(self.out.dialled) == before:
            assert self.core.state is ClientState.WAITING
            self.advance(0.05)
        self.out.heard()
        self.core.up(self.now)

    # The connection.

    def open(self) -> None:
        self.core.open(self.now)
        self.core.up(self.now)

    def connect(self, **fields: Any) -> None:
        """The client connects, and is welcome. Nothing of it is left to be heard."""
        self.open()
        self.welcome(self.last(Hello).ask, **fields)
        self.out.heard()

    def lose(self) -> None:
        self.core.down("cut", self.now)

    def reconnect(self, **fields: Any) -> Resume:
        """The connection is lost and made again; the RESUME that was answered. What follows can be heard."""
        self.lose()
        self.advance_to_dial()
        resume = self.last(Resume)
        self.welcome(resume.ask, resumed=True, direct=resume.direct, **fields)
        return resume

    # What is heard and said.

    def last(self, kind: type[M]) -> M:
        """The last thing that the client said; nothing else was said after it."""
        message = self.out.heard()[-1]
        assert isinstance(message, kind)
        return message

    def heard(self, kind: type[M]) -> list[M]:
        """What the client said of this kind since anything was heard; the rest is forgotten."""
        return [message for message in self.out.heard() if isinstance(message, kind)]

    def say(self, message: Message, by: Contact | None = None) -> None:
        """A server says something: the broker, unless another is named."""
        self.core.receive(encode(message), self.now, by)

    def new_ref(self) -> int:
        self._refs += 1
        return self._refs

    def new_secret(self) -> bytes:
        self._secrets += 1
        return secret(self._secrets)

    def welcome(self, ask: int, **fields: Any) -> Welcome:
        values: dict[str, Any] = {
            "version": 1,
            "ref": self.new_ref(),
            "session": SESSION,
            "token": self.new_secret(),
            "client_id": 12,
            "address": "192.0.2.7",
            "epoch": HOME_EPOCH,
            "direct": 0,
            "uplink": 0,
            "resumed": False,
            "limits": Limits().to_wire(),
        }
        message = Welcome(ask, **{**values, **fields})
        self.say(message)
        return message

    def joined(self, ask: int, room: str, epoch: int, by: Contact | None = None, **fields: Any) -> Joined:
        values: dict[str, Any] = {
            "ref": self.new_ref(),
            "type": "duel",
            "offset": 0,
            "direct": 0,
            "uplink": 0,
            "downlink": None,
            "token": self.new_secret(),
            "info": {},
        }
        message = Joined(ask, room=room, epoch=epoch, **{**values, **fields})
        self.say(message, by)
        return message

    def assigned(self, ask: int, room: str, endpoint: str | None = None) -> Assigned:
        message = Assigned(self.core.home.ref, ask, room, endpoint, self.new_secret(), 15.0)
        self.say(message)
        return message

    def join(self, room: str, epoch: int, **fields: Any) -> Membership:
        """The client enters a room. Nothing of it is left to be heard."""
        ask = self.core.requests.ask(lambda ask: JoinById(self.core.home.ref, ask, room, {}))
        self.assigned(ask, room)
        self.joined(self.last(Join).ask, room, epoch, **fields)
        self.out.heard()
        return self.core.rooms[room]

    def recovered(self, recover: Recover, by: Contact | None = None, **fields: Any) -> Joined:
        """Answer a RECOVER: the membership goes on where it was."""
        place = {"offset": recover.offset, "direct": recover.direct, **fields}
        return self.joined(recover.ask, recover.room, recover.epoch, by, **place)

    def deliver(self, membership: Membership, offset: int, *items: list[Any], ref: int | None = None) -> None:
        """A bundle of the stream of this membership."""
        where = membership.ref if ref is None else ref
        self.say(Deliver(membership.reader.epoch, where, offset, list(items)), membership.contact)

    def acknowledge(self, membership: Membership, number: int) -> None:
        self.say(Ack(membership.ref, number), membership.contact)

    # What the application does.

    def send(self, membership: Membership, data: Any = None) -> int:
        return self.core.send(membership, Kind.SEND, "message", data)

    def read(self, membership: Membership) -> list[Any]:
        """Take everything out of the inbox, as the shell does: the data."""
        taken: list[Any] = []
        while membership.inbox:
            message, fetch = membership.inbox.take()
            taken.append(message.data)
            if fetch:
                self.core.read_on(membership, self.now)
        return taken

    def sent(self) -> list[tuple[int, int, Any]]:
        """Ref, number and data of the SENDs since anything was heard."""
        return [(send.ref, send.number, send.data) for send in self.heard(Send)]
