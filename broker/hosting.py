"""What a host runs, and how: the contract between it and whoever makes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..protocol.limits import AddressLimits, Limits
from ..protocol.names import ClientData
from ..protocol.rulesets import RuleSet
from ..rooms.doors import PasswordCheck
from ..rooms.room import Room
from ..transport.key_files import AuthorisedKeys
from ..transport.keys import LocalState
from ..transport.locks import KeyPair
from .auth import Peer
from .broker import BrokerLimits
from .cluster import ClusterOptions, LauncherFactory
from .logs import LogFormat
from .placement import Placement
from .queues import MatchQueue
from .sessions import Session

if TYPE_CHECKING:
    from .host import Host

__all__ = ["Application", "HostOptions", "Launch"]


@dataclass(frozen=True, slots=True)
class Launch:
    """Workers that this server starts, and keeps running."""

    count: int
    target: str
    """The server that they load."""
    make: LauncherFactory
    labels: tuple[str, ...] = ()
    log_level: str = "WARNING"
    log_format: LogFormat = "text"


@dataclass(frozen=True, slots=True)
class HostOptions:
    """How a server runs, besides where."""

    cluster: ClusterOptions | None = None
    """With workers in processes of their own; None: rooms live in the broker's."""
    launch: Launch | None = None
    """Workers to start; None: only those come that somebody else starts."""
    key: bytes | None = field(default=None, repr=False)
    """The cluster key; None: one of our own."""
    keep_state: bool = False
    """Keep the key in a file of this user, so that ``srs`` commands and workers on this machine find it."""
    state: LocalState | None = field(default=None, repr=False)
    """What a broker before this one has left, where that is no file: its key counts."""
    metrics_port: int | None = None
    """Where to tell Prometheus what is measured, on the address for clients; None: nowhere."""
    keys: KeyPair | None = field(default=None, repr=False)
    """Of all our ports, which encrypt then; clients need to know the public one. None: they don't."""
    authorised: AuthorisedKeys | None = None
    """The keys of clients that may connect, with ``keys``; None: any."""
    passwords: PasswordCheck | None = None
    """Asks for names and passwords instead of keys, and says whose they are."""
    insecure: bool = False
    """Whether to listen where others can come from, also if nobody asks who they are."""
    software: str = "server-room-system"


class Application(Protocol):
    """What a host runs: a Server, as its host sees it."""

    limits: Limits
    broker_limits: BrokerLimits
    address_limits: AddressLimits
    rooms: dict[str, type[Room]]
    placement: Placement

    def handle_response(self, protocol: str, data: Any, sender: Session, client_data: ClientData) -> Any:
        """A client who is in no room sent something."""

    def on_error(self, hook: str, error: BaseException) -> Any:
        """A hook raised."""

    @property
    def asks(self) -> bool:
        """Whether newcomers are asked who they are."""
        ...

    def on_auth(self, credentials: Any, peer: Peer) -> Any:
        """Who somebody is that wants to open a session."""

    @property
    def queues(self) -> Mapping[str, type[MatchQueue]]:
        """The policies of the queues by their names."""
        ...

    def make_room(self, ruleset: RuleSet) -> tuple[str, Room]:
        """The room for a ruleset, and the name of its type."""
        ...

    def bind(self, host: "Host | None") -> None:
        """It runs in this host, or in none any more."""
