"""The connections of one client: a link for each server that it talks to, a subscription for each downlink."""

import asyncio
import re
from collections.abc import Callable

from ..protocol.errors import ConfigError
from ..transport.locks import Key
from ..transport.network import Link, Network, Sent, Subscription
from .access import Access
from .contact import Contact
from .core import ClientCore
from .membership import Membership

__all__ = ["Links"]

_PORT = re.compile(r":[0-9]+$")


class Links:
    """Opens and closes connections, and hands what comes on them to the core.

    Args:
        core: what decides.
        network: where connections are made.
        access: what opens the servers' ports.
        changed: called when a connection stands or is lost, for the timer.
    """

    def __init__(self, core: ClientCore, network: Network, access: Access, changed: Callable[[], None]) -> None:
        self.core = core
        self._network = network
        self._access = access
        self._changed = changed
        self._links: dict[Contact, _ContactLink] = {}
        self._downlinks: dict[Membership, _Downlink] = {}
        self._loop = asyncio.get_running_loop()

    def dial(self, contact: Contact) -> None:
        """See ``ContactOutbox.dial``."""
        self.hang_up(contact)
        link = self._links[contact] = _ContactLink(self, contact)
        try:
            address, key = self._way_to(contact)
            link.link = self._network.connect(address, link, self.core.limits.download, key)
        except ConfigError as error:
            del self._links[contact]
            if contact is self.core.broker:
                raise
            self._loop.call_soon(self.lost, link, str(error))  # an endpoint that somebody else gave us

    def hang_up(self, contact: Contact) -> None:
        """See ``ContactOutbox.hang_up``."""
        link = self._links.pop(contact, None)
        if link is not None and link.link is not None:
            link.link.close()

    def transmit(self, contact: Contact, frame: bytes) -> Sent:
        """See ``ContactOutbox.transmit``."""
        link = self._links.get(contact)
        return link.link.send(frame) if link is not None and link.link is not None else Sent.GONE

    def open_downlink(self, membership: Membership, port: int, token: bytes) -> None:
        """See ``ClientOutbox.open_downlink``."""
        downlink = self._downlinks[membership] = _Downlink(self, membership, token)
        try:
            address, key = self._way_to(membership.contact)
            beside = _PORT.sub(f":{port}", address)
            downlink.subscription = self._network.subscribe(beside, downlink, self.core.limits.download, key)
        except ConfigError:
            self._loop.call_soon(downlink.down, "no address")

    def close_downlink(self, membership: Membership) -> None:
        """See ``ClientOutbox.close_downlink``."""
        downlink = self._downlinks.pop(membership, None)
        if downlink is not None and downlink.subscription is not None:
            downlink.subscription.close()

    def _way_to(self, contact: Contact) -> tuple[str, Key | None]:
        if contact is self.core.broker:
            return contact.address, self._access.to_broker()
        return self._access.to_worker(contact.address)

    # What the connections tell.

    def up(self, link: "_ContactLink") -> None:
        if self._links.get(link.contact) is link:
            self.core.up(self._loop.time(), link.contact)
            self._changed()

    def receive(self, link: "_ContactLink", frame: bytes) -> None:
        if self._links.get(link.contact) is link:
            self.core.receive(frame, self._loop.time(), link.contact)

    def lost(self, link: "_ContactLink", reason: str) -> None:
        if self._links.get(link.contact, link) is link:
            self._links.pop(link.contact, None)
            failure = link.link.failure if link.link is not None else None
            self.core.down(reason, self._loop.time(), link.contact, failure)
            self._changed()

    def downlink_received(self, downlink: "_Downlink", frame: bytes) -> None:
        if self._downlinks.get(downlink.membership) is downlink:
            self.core.downlink_received(downlink.membership, frame, self._loop.time())

    def downlink_lost(self, downlink: "_Downlink") -> None:
        if self._downlinks.get(downlink.membership) is downlink:
            del self._downlinks[downlink.membership]
            self.core.downlink_lost(downlink.membership)


class _ContactLink:
    """The sink of one connection to a broker or worker."""

    __slots__ = ("_links", "contact", "link")

    def __init__(self, links: Links, contact: Contact) -> None:
        self._links = links
        self.contact = contact
        self.link: Link | None = None

    def up(self) -> None:
        self._links.up(self)

    def receive(self, frame: bytes) -> None:
        self._links.receive(self, frame)

    def down(self, reason: str) -> None:
        self._links.lost(self, reason)


class _Downlink:
    """The sink of one connection that a topic room's stream comes down on."""

    __slots__ = ("_links", "_token", "membership", "subscription")

    def __init__(self, links: Links, membership: Membership, token: bytes) -> None:
        self._links = links
        self._token = token
        self.membership = membership
        self.subscription: Subscription | None = None

    def up(self) -> None:
        if self.subscription is not None:
            self.subscription.present(self._token)

    def receive(self, frame: bytes) -> None:
        self._links.downlink_received(self, frame)

    def down(self, reason: str) -> None:
        self.subscription = None
        self._links.downlink_lost(self)
