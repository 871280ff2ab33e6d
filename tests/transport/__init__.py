"""What the transport brings besides its networks, which tests/contract compares."""
