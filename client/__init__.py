"""The side that users start from: AsyncClient, and the blocking Client over it."""

from .async_client import AsyncClient, connect
from .blocking import Client
from .blocking_rooms import RoomsWatched
from .received import Received
from .room import ClientRoom
from .room_list import RoomChange, RoomList
from .ticket import ClientParty, MatchFound, PartyMember, QueueProgress, QueueTicket

__all__ = [
    "AsyncClient",
    "Client",
    "ClientParty",
    "ClientRoom",
    "MatchFound",
    "PartyMember",
    "QueueProgress",
    "QueueTicket",
    "Received",
    "RoomChange",
    "RoomList",
    "RoomsWatched",
    "connect",
]
