"""One suite over the network on real sockets and the one in memory."""
