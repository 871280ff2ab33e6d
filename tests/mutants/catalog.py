"""All mutants. Each that is added is to be seen survive without its test, and killed with it."""

from .bugs_of_brokers import BROKERS
from .bugs_of_queues import QUEUES
from .bugs_of_rooms import ROOMS
from .bugs_of_streams import STREAMS

__all__ = ["MUTANTS"]

MUTANTS = [*STREAMS, *ROOMS, *BROKERS, *QUEUES]
