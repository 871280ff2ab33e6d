"""Real processes, real faults, and an oracle that follows all that they say and do. See docs/chaos.md."""
