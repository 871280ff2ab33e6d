"""The version of the package, which its own ``__init__`` says."""

from .. import __version__  # pyright: ignore[reportMissingImports]  # in a checkout it looks beside the links' targets

__all__ = ["VERSION"]

VERSION: str = __version__
