"""Server Room System: rooms, matchmaking and broadcast over ZeroMQ.

Subclass ``Room`` and ``Server``, run the server, and connect with ``Client`` or
``connect()``. Everything that programs need is here by name.
"""

from . import broker, client, rooms
from .broker import *
from .client import *
from .protocol import errors
from .protocol.errors import *
from .protocol.limits import AddressLimits, Limits
from .protocol.names import ClientData, Protocol
from .protocol.rulesets import RuleSet
from .protocol.streams import HistoryLimits, Position
from .rooms import *

__version__ = "2.0.0.dev0"

__all__ = [
    "AddressLimits",
    "ClientData",
    "HistoryLimits",
    "Limits",
    "Position",
    "Protocol",
    "RuleSet",
]
__all__ += broker.__all__
__all__ += client.__all__
__all__ += errors.__all__
__all__ += rooms.__all__
