"""The client without a network, a loop or a clock."""
