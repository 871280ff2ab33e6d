"""Who connects to the workers' address and is no worker."""

from server_room_system import Server
from server_room_system.protocol import Ping, encode
from server_room_system.testing import InMemorySystem, run, system
from server_room_system.transport import Link


class Stranger:
    """Connects, and says no more than that it is there."""

    def __init__(self, s: InMemorySystem) -> None:
        assert s.host.worker_address is not None
        self.ended = ""
        self.link: Link = s.network.connect(s.host.worker_address, self, 4096)

    def up(self) -> None:
        self.ping()

    def receive(self, frame: bytes) -> None:
        """PONG."""

    def down(self, reason: str) -> None:
        self.ended = reason

    def ping(self) -> None:
        self.link.send(encode(Ping(1)))


def test_a_stranger_who_proves_nothing_is_sent_away_and_workers_stay() -> None:
    async def play() -> None:
        async with system(Server(), workers=2) as s:
            strangers = [Stranger(s) for _ in range(20)]
            for _ in range(13):
                await s.sleep(1.0)
                for stranger in strangers:
                    if not stranger.ended:
                        stranger.ping()
            assert all(stranger.ended for stranger in strangers)
            assert [worker.registered for worker in s.workers.values()] == [True, True]

    run(play, seed=1)
