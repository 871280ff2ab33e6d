"""Hostile peers on loopback: whatever they send, the server lives and honest clients notice nothing."""
