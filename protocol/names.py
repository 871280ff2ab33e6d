"""The message types that every server and client knows, and who a client is."""

from typing import Any, NamedTuple

__all__ = ["ClientData", "Protocol"]


class Protocol:
    """Names of the built-in message types.

    What a client sends as ``Protocol.Request.MESSAGE`` arrives in
    ``handle_response`` as ``Protocol.Response.MESSAGE``: the two are one name.
    Types of your own are any other strings.
    """

    class Request:
        """What a client sends."""

        MESSAGE = "message"
        COMMAND = "command"
        ROOM_RULSET = "room_ruleset"
        """Ask to be matched. The spelling is the one that programs already use."""

    class Response:
        """What ``handle_response`` gets."""

        MESSAGE = "message"
        COMMAND = "command"
        CLIENT_DATA = "client_data"


class ClientData(NamedTuple):
    """Who a client is, as its server sees it."""

    ID: int
    """Small number, unique in the life of the server."""
    ADDRESS: str
    """Where its connection comes from: an IP address, or empty if unknown."""
    AUTH: Any = None
    """Who it is: what ``Server.on_auth`` returned. None where the server asks nobody, and at the client."""
