"""What comes from each address: how much of it is too much, decided without sockets or clocks.

One book is kept for each process. It is asked when a connection is made, when a
session is opened, and told of failed authentications; what it refuses, honest
clients try again by themselves.
"""

import ipaddress
import logging
from collections import Counter
from ipaddress import IPv4Address, IPv6Address

from ..protocol.limits import AddressLimits
from ..protocol.rates import TokenBucket

__all__ = ["AddressBook", "counts_as"]

logger = logging.getLogger(__name__.partition(".rooms")[0] + ".addresses")

_MOST_KEPT = 8192
"""Addresses that nobody is connected from: about 4 MiB."""
_FORGOTTEN_AT_ONCE = 16
_FREE_FAILURES = 5
"""Somebody may mistype, and others behind the same NAT as well."""
_FORGIVEN_EACH = 10.0
"""Seconds of innocence that make up for one failure."""
_MOST_STRIKES = 64
_GUESSES = 30
"""Passwords of rooms that may be shown from one address at once, and then one each other second."""
_GUESS_RATE = 0.5
_SAID_EACH = 10.0
"""Seconds between two lines of the log about refusals."""

_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""IPv4 addresses behind a translator (RFC 6052): all of them have the same first 64 bits."""

CONNECTIONS, CONNECTION_RATE, HELLO_RATE, SESSIONS, SLOWED, FLOODED, GUESSES = (
    "too many connections of an address",
    "connections of an address too fast",
    "hellos of an address too fast",
    "too many sessions of an address",
    "failed authentication",
    "bytes that are no messages",
    "passwords of rooms guessed",
)
"""Reasons, as metrics count them."""


class _Page:
    """What is known of one address."""

    __slots__ = ("connections", "door", "failed_at", "guesses", "hellos", "refused_until", "sessions", "strikes")

    def __init__(self, limits: AddressLimits) -> None:
        self.connections = 0
        self.sessions = 0
        self.door = TokenBucket(limits.connection_rate, limits.connections)
        self.hellos = TokenBucket(limits.hello_rate, limits.connections)
        self.guesses = TokenBucket(_GUESS_RATE, _GUESSES)
        self.strikes = 0.0
        self.failed_at = 0.0
        self.refused_until = 0.0

    @property
    def in_use(self) -> bool:
        return self.connections > 0 or self.sessions > 0


class AddressBook:
    """Counts for each address, and says no. Times are monotonic seconds.

    It keeps all addresses that are connected, and the last 8,192 others.
    """

    def __init__(self, limits: AddressLimits) -> None:
        self.counts: Counter[str] = Counter()
        """Refusals by their reason, since the start."""
        self.limits = limits
        self._exempt = [ipaddress.ip_network(network) for network in limits.exempt]
        self._pages: dict[str, _Page] = {}
        self._keys: dict[str, str] = {}
        """What the last addresses count as."""
        self._now = 0.0
        self._said_at = float("-inf")
        self._unsaid = 0

    def connected(self, address: str, now: float) -> bool:
        """A connection was made. False: it is to be cut. Either way it counts until ``disconnected``."""
        self._now = now
        page = self._page(address)
        if page is None:
            return True
        page.connections += 1
        if now < page.refused_until:
            return self._no(address, SLOWED, now)
        if page.connections > self.limits.connections:
            return self._no(address, CONNECTIONS, now)
        return page.door.allow(now) or self._no(address, CONNECTION_RATE, now)

    def disconnected(self, address: str) -> None:
        """A connection is over."""
        page = self._page(address)
        if page is not None:
            page.connections -= 1

    def may_enter(self, address: str, now: float) -> bool:
        """Whether somebody from there may open a session now, or take one back."""
        self._now = now
        page = self._page(address)
        if page is None:
            return True
        if now < page.refused_until:
            return self._no(address, SLOWED, now)
        return page.hellos.allow(now) or self._no(address, HELLO_RATE, now)

    def may_guess(self, address: str, now: float) -> bool:
        """Whether somebody from there may show a room's password now."""
        self._now = now
        page = self._page(address)
        return page is None or page.guesses.allow(now) or self._no(address, GUESSES, now)

    def has_room(self, address: str) -> bool:
        """Whether one more session may begin from there."""
        page = self._page(address)
        if page is None or page.sessions < self.limits.sessions:
            return True
        return self._no(address, SESSIONS, self._now)

    def session_began(self, address: str) -> None:
        """A session has begun; it counts, also if there was no room."""
        page = self._page(address)
        if page is not None:
            page.sessions += 1

    def session_ended(self, address: str) -> None:
        """A session that had begun from there is over."""
        page = self._page(address)
        if page is not None:
            page.sessions -= 1

    def failed(self, address: str, now: float) -> None:
        """Somebody from there showed a key, a password or credentials that were refused."""
        page = self._page(address)
        if page is None or now < page.refused_until:
            return  # it was on its way already
        innocent = now - max(page.failed_at, page.refused_until)
        page.strikes = min(max(0.0, page.strikes - innocent / _FORGIVEN_EACH) + 1.0, _MOST_STRIKES)
        page.failed_at = now
        over = page.strikes - _FREE_FAILURES
        if over > 0:
            page.refused_until = now + min(2.0 ** (over - 1.0), self.limits.longest_refusal)

    def flooded(self, address: str, now: float) -> None:
        """A connection from there was cut, because it sent bytes that are no messages: none comes for a while."""
        self.counts[FLOODED] += 1
        page = self._page(address)
        if page is not None:
            page.strikes, page.failed_at = max(page.strikes, float(_FREE_FAILURES)), now  # nobody does it by mistake
            self.failed(address, now)

    def _no(self, address: str, reason: str, now: float) -> bool:
        self.counts[reason] += 1
        self._unsaid += 1
        if now - self._said_at >= _SAID_EACH:
            logger.warning("refused %d times, last %s: %s", self._unsaid, address, reason)
            self._said_at, self._unsaid = now, 0
        return False

    def _page(self, address: str) -> _Page | None:
        """None for who is exempt. Whoever is asked for is remembered longest."""
        key = self._keys.get(address)
        if key is None:
            key = self._keys[address] = self._key(address)
            if len(self._keys) > _MOST_KEPT:
                del self._keys[next(iter(self._keys))]
        if not key:
            return None
        page = self._pages.pop(key, None)
        if page is None:
            page = _Page(self.limits)
            self._forget_some()
        self._pages[key] = page
        return page

    def _forget_some(self) -> None:
        for _ in range(_FORGOTTEN_AT_ONCE):
            if len(self._pages) < _MOST_KEPT:
                return
            oldest = next(iter(self._pages))
            page = self._pages.pop(oldest)
            if page.in_use:
                self._pages[oldest] = page

    def _key(self, address: str) -> str:
        parsed = _parsed(address)
        if parsed is None or any(parsed in network for network in self._exempt if network.version == parsed.version):
            return ""
        return _counted(parsed)


def counts_as(address: str) -> str:
    """What an address counts as: of IPv6, a network of 2^64 that one customer has. Empty, if it is none."""
    parsed = _parsed(address)
    return _counted(parsed) if parsed is not None else ""


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None  # it is not of a network
    if parsed.version == 4:
        return parsed
    if parsed in _TRANSLATED:
        return IPv4Address(int(parsed) & 0xFFFFFFFF)
    return parsed.ipv4_mapped or parsed


def _counted(parsed: IPv4Address | IPv6Address) -> str:
    return str(parsed) if parsed.version == 4 else str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
