"""Where rooms live: the Room that users write, the machinery that runs it, and the worker around them."""

from .handlers import on_message, on_request
from .member import Member
from .room import Room

__all__ = ["Member", "Room", "on_message", "on_request"]
