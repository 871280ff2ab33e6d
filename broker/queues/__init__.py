"""Queues whose policy is a class of the user's: tickets, windows, teams, and the pure matcher."""

from .explain import Obstacle, Why
from .match import Match, Progress, Quality
from .matcher import Matcher
from .queue import MatchQueue
from .teams import Place
from .tickets import Backfill, Entrant, Ticket, TicketEvent, TicketState
from .window import Window

__all__ = [
    "Backfill",
    "Entrant",
    "Match",
    "MatchQueue",
    "Matcher",
    "Obstacle",
    "Place",
    "Progress",
    "Quality",
    "Ticket",
    "TicketEvent",
    "TicketState",
    "Why",
    "Window",
]
