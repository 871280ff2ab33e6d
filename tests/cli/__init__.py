"""The ``srs`` command, as its users type it."""
