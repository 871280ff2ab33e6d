"""The whole system in memory, under seeded faults: what must hold, whatever happens."""
