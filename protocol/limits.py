"""How much a peer may ask of us: sizes in bytes, counts in items, times in seconds."""

from dataclasses import asdict, dataclass

__all__ = ["Limits"]


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
    ping_interval: float = 5.0
    """Seconds of silence after which a client sends PING."""
    ping_timeout: float = 15.0
    """Seconds of silence after which either side gives the other up."""
    unacked: int = 256
    """Messages that a client may have sent and not yet seen acknowledged."""

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
