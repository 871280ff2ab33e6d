"""What is said on the wire, and the pure pieces that both ends share. No sockets, loops or clocks."""

from . import alarms, codec, errors, ids, limits, liveness, messages, names, rates, rulesets, streams
from .alarms import *
from .codec import *
from .errors import *
from .ids import *
from .limits import *
from .liveness import *
from .messages import *
from .names import *
from .rates import *
from .rulesets import *
from .streams import *

__all__ = [  # noqa: PLE0604  # each part lists its own names
    *alarms.__all__,
    *codec.__all__,
    *errors.__all__,
    *ids.__all__,
    *limits.__all__,
    *liveness.__all__,
    *messages.__all__,
    *names.__all__,
    *rates.__all__,
    *rulesets.__all__,
    *streams.__all__,
]
