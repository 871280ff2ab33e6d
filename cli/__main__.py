"""``python -m server_room_system.cli``: the ``srs`` command."""

from . import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
