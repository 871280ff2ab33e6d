"""The side that users start from: AsyncClient, and the blocking Client over it."""

from .async_client import AsyncClient, connect
from .blocking import Client
from .received import Received
from .room import ClientRoom

__all__ = ["AsyncClient", "Client", "ClientRoom", "Received", "connect"]
