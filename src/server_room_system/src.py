"""The same names under the path that the first programs import from."""

from . import *
from . import __all__ as __all__
