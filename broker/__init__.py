"""The side that knows everyone: sessions, matchmaking, the directory, and the Server around them."""

from .broker import BrokerLimits
from .matchmaking import MatchMaker
from .server import Server
from .sessions import Session

__all__ = ["BrokerLimits", "MatchMaker", "Server", "Session"]
