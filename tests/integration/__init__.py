"""The whole system on real sockets and in real processes."""
