"""How much a peer may ask of us: sizes in bytes, counts in items, times in seconds."""

import ipaddress
from dataclasses import asdict, dataclass

from .errors import ConfigError

__all__ = ["AddressLimits", "Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one server, announced in WELCOME and enforced by its port.

    A frame over a size, or a value nested deeper or longer than these, is a
    protocol error of its sender. Raising one costs memory for every peer.
    """

    upload: int = 64 * 1024
    """Bytes of one frame from a client to a room."""
    download: int = 256 * 1024
    """Bytes of one frame from a room to a client."""
    control: int = 16 * 1024
    """Bytes of one frame from a client to the broker."""
    nesting: int = 16
    """Containers within containers in one payload, its own outermost counted."""
    array: int = 1024
    """Elements of one array."""
    map: int = 256
    """Pairs of one map."""
    message_rate: float = 60.0
    """Messages a second for each member, unless its room type says otherwise."""
    message_burst: int = 120
    """Messages at once for each member, unless its room type says otherwise."""
    control_rate: float = 20.0
    """Requests to the broker a second for each connection."""
    control_burst: int = 60
    """Requests to the broker at once for each connection."""
    ping_interval: float = 3.0
    """Seconds of silence after which a client sends PING."""
    ping_timeout: float = 9.0
    """Seconds of silence after which either side gives the other up. A second more passes before it looks."""
    unacked: int = 256
    """Messages that a client may have sent and not yet seen acknowledged: 256 at most, as many refusals are kept."""

    def to_wire(self) -> dict[str, object]:
        """The map that WELCOME carries: every limit by its name."""
        return asdict(self)

    @classmethod
    def from_wire(cls, announced: dict[str, object]) -> "Limits":
        """Read the map of a WELCOME. Unknown names and wrong types are ignored.

        A limit that is missing keeps its default, so that a newer server may
        announce more than this client knows.
        """
        known: dict[str, int | float] = {}
        for name, default in asdict(cls()).items():
            value = announced.get(name)
            fits = type(value) is int or type(value) is type(default)
            if fits and 0 < value < 1 << 53:  # type: ignore[operator]  # a number, then
                known[name] = type(default)(value)
        return cls(**known)  # type: ignore[arg-type]  # each is a number of its default's type


@dataclass(frozen=True, slots=True)
class AddressLimits:
    """How much the clients of one address may do together, at each process of a server.

    An address is an IPv4 address, or the first 64 bits of an IPv6 one, which is
    what one household gets. Many may share one: those behind a NAT, or all of
    them behind a TCP proxy. Raise these then, or exempt it. What is over a limit
    is refused in such a way that honest clients come again by themselves.

    Raises:
        ConfigError: a number is not above zero, or a network is none.
    """

    connections: int = 1024
    """Connections at once: as many as one class or office may need, and a fraction of what a server has. Members of
    topic rooms have two. They may all come in one moment, as after a restart."""
    connection_rate: float = 100.0
    """New connections a second, when those are used up."""
    hello_rate: float = 100.0
    """Sessions that are opened or taken back a second, after a burst of ``connections``."""
    sessions: int = 1024
    """Sessions at once, those included that may still come back."""
    longest_refusal: float = 60.0
    """Seconds. After some failed authentications an address is refused for a second, after the next one for two, and
    so on up to this."""
    stranger_time: float = 15.0
    """Seconds in which a connection has to become a client's."""
    exempt: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Networks that none of this holds for, but ``stranger_time``: gateways, proxies, machines that test."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name != "exempt" and not (type(value) in (int, float) and 0 < value < 1 << 53):
                raise ConfigError(f"AddressLimits.{name} is a number above 0, not {value!r:.40}")
        for network in self.exempt:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ConfigError(
                    f"AddressLimits.exempt has networks like 192.0.2.0/24, not {network!r:.60}"
                ) from error
