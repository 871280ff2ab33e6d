"""What is said on the wire, and what both ends share."""
