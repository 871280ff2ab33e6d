"""The broker without a network, a loop or a clock."""
