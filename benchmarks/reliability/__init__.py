"""How reliable it is, in figures: ``python -m benchmarks.reliability``. The clients are those of users."""
