"""The load lab: bots with a behaviour, and what ``srs bench`` says of a server that they load."""

from .bot import Bot

__all__ = ["Bot"]
