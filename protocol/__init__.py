"""What is said on the wire, and the pure pieces that both ends share. No sockets, loops or clocks."""

from . import (
    alarms,
    backoff,
    cluster,
    codec,
    conflation,
    errors,
    fields,
    filters,
    ids,
    lifecycle,
    limits,
    liveness,
    messages,
    names,
    proof,
    queue_messages,
    rates,
    recent,
    room_messages,
    rulesets,
    streams,
)
from .alarms import *
from .backoff import *
from .cluster import *
from .codec import *
from .conflation import *
from .errors import *
from .fields import *
from .filters import *
from .ids import *
from .lifecycle import *
from .limits import *
from .liveness import *
from .messages import *
from .names import *
from .proof import *
from .queue_messages import *
from .rates import *
from .recent import *
from .room_messages import *
from .rulesets import *
from .streams import *

__all__: list[str] = []
__all__ += alarms.__all__
__all__ += backoff.__all__
__all__ += cluster.__all__
__all__ += codec.__all__
__all__ += conflation.__all__
__all__ += errors.__all__
__all__ += fields.__all__
__all__ += filters.__all__
__all__ += ids.__all__
__all__ += lifecycle.__all__
__all__ += limits.__all__
__all__ += liveness.__all__
__all__ += messages.__all__
__all__ += names.__all__
__all__ += proof.__all__
__all__ += queue_messages.__all__
__all__ += rates.__all__
__all__ += recent.__all__
__all__ += room_messages.__all__
__all__ += rulesets.__all__
__all__ += streams.__all__
