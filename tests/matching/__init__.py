"""Matchmaking under faults: tickets by the million through the cores that decide, each step checked."""
