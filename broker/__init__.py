"""The side that knows everyone: sessions, matchmaking, the directory, and the Server around them."""

from .auth import Peer
from .broker import BrokerLimits
from .jwt import JwtVerifier
from .matchmaking import MatchMaker
from .options import RunOptions
from .passwords import PasswordFile
from .placement import Load, Placement, RoomNeeds, WorkerView
from .queues import Entrant, MatchQueue, Window
from .ratings import Skill, Skills
from .server import Server
from .sessions import Session

__all__ = [
    "BrokerLimits",
    "Entrant",
    "JwtVerifier",
    "Load",
    "MatchMaker",
    "MatchQueue",
    "PasswordFile",
    "Peer",
    "Placement",
    "RoomNeeds",
    "RunOptions",
    "Server",
    "Session",
    "Skill",
    "Skills",
    "Window",
    "WorkerView",
]
