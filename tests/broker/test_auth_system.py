"""``on_auth`` in a whole system, on the virtual clock: what the client shows, and where hooks find who it is."""

import asyncio
import logging
from typing import Any

import pytest

from server_room_system import (
    AuthRefused,
    AuthUnavailable,
    BrokerLimits,
    ClientData,
    CredentialsError,
    Member,
    PayloadError,
    Peer,
    Room,
    RuleSet,
    Server,
    Session,
    SessionEnded,
    on_message,
)
from server_room_system.testing import run, system

WHO = {"sub": "ada", "roles": ["player"]}


class Club(Room):
    """Tells everybody who it knows them to be."""

    max_clients = 2

    def on_join(self, client: Member, options: dict[str, Any]) -> None:
        self.joined_as = client.auth

    @on_message("who")
    def who(self, client: Member, data: Any) -> None:
        client.send("you", [client.auth, client.data.AUTH])


class Guarded(Server):
    """Lets those in who say the word, after a while."""

    def __init__(self, takes: float = 0.5, **limits: Any) -> None:
        super().__init__(rooms={"club": Club}, broker_limits=BrokerLimits(**limits))
        self.takes = takes
        self.asked: list[tuple[Any, Peer]] = []
        self.at_work = 0
        self.errors: list[tuple[str, str]] = []

    async def on_auth(self, credentials: Any, peer: Peer) -> Any:
        self.asked.append((credentials, peer))
        self.at_work += 1
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.at_work -= 1
        if credentials == "broken":
            raise ValueError("a bug that knows the password hunter2")
        if credentials == "unspeakable":
            return object()
        if credentials != "word":
            raise AuthRefused("say the word")
        return WHO

    def on_error(self, hook: str, error: BaseException) -> None:
        self.errors.append((hook, type(error).__name__))

    def handle_response(self, protocol: str, data: Any, sender: Session, client_data: ClientData) -> None:
        if data == "go":
            sender.end("closing time")
        else:
            sender.send("you", [sender.auth, client_data.AUTH])


@pytest.mark.parametrize("workers", [None, 1])
def test_everywhere_hooks_find_who_a_client_is(workers: int | None) -> None:
    async def main() -> None:
        server = Guarded()
        async with system(server, workers=workers, seed=1) as s:
            client = await s.client(credentials="word")
            ((credentials, peer),) = server.asked
            assert (credentials, peer.address) == ("word", "127.0.0.1")
            assert client.data.AUTH is None, "it is the server's"
            await client.send("message", "who am I?")
            assert (await client.receive()).data == [WHO, WHO]
            room = await client.create(RuleSet(1, room="club"))
            await room.send("who")
            assert (await room.receive()).data == [WHO, WHO]
            assert s.rooms[0].joined_as == WHO  # type: ignore[attr-defined]

    run(main)


def test_who_does_not_say_the_word_stays_outside() -> None:
    async def main() -> None:
        server = Guarded()
        async with system(server, seed=1) as s:
            for credentials in ("wrong", None):
                with pytest.raises(AuthRefused, match="say the word"):
                    await s.client(credentials=credentials)
            await s.sleep(5.0)
            assert [asked for asked, _ in server.asked] == ["wrong", None], "it did not try again"
            assert server.clients == []
            assert server.errors == []

    run(main)


def test_a_plain_hook_answers_at_once() -> None:
    class Plain(Server):
        def on_auth(self, credentials: Any, peer: Peer) -> Any:
            if credentials is None:
                raise AuthRefused
            return credentials["name"]

    async def main() -> None:
        server = Plain()
        async with system(server, seed=1) as s:
            client = await s.client(credentials={"name": "ada"})
            (session,) = server.clients
            assert session.auth == "ada"
            assert client.connected
            with pytest.raises(AuthRefused):
                await s.client()

    run(main)


def test_a_verifier_may_be_an_attribute() -> None:
    class Verifier:
        def __call__(self, credentials: Any, peer: Peer) -> str:
            return f"{credentials}!"

    class Attributed(Server):
        on_auth = Verifier()  # pyright: ignore[reportAssignmentType]

    async def main() -> None:
        server = Attributed()
        async with system(server, seed=1) as s:
            await s.client(credentials="ada")
            assert server.clients[0].auth == "ada!"

    run(main)


@pytest.mark.parametrize(("credentials", "raised"), [("broken", "ValueError"), ("unspeakable", "PayloadError")])
def test_a_hook_that_fails_lets_nobody_in_and_its_words_stay_here(
    credentials: str, raised: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        server = Guarded(takes=0.1)
        async with system(server, seed=1) as s:
            with pytest.raises(AuthUnavailable) as caught:
                await s.client(credentials=credentials)
            assert "hunter2" not in str(caught.value)
            assert len(server.asked) > 2, "it came back while it had time"
            assert set(server.errors) == {("on_auth", raised)}
            errors = [record for record in caplog.records if record.levelno == logging.ERROR]
            assert 1 <= len(errors) <= 6, "a traceback a second at most: strangers choose how often the hook runs"
            assert all(f"on_auth raised {raised}" in record.message and record.exc_info for record in errors)

    run(main)


def test_strangers_do_not_choose_how_much_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        server = Guarded(takes=0.01)
        async with system(server, seed=1) as s:
            attempts = (s.client(credentials="broken", connect_timeout=0.3) for _ in range(20))
            outcomes = await asyncio.gather(*attempts, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {AuthUnavailable}
            assert len(server.asked) >= 20
            assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1

    run(main)


def test_a_hook_that_hangs_is_given_up_and_cancelled() -> None:
    async def main() -> None:
        server = Guarded(takes=1000.0, auth_timeout=1.0)
        async with system(server, seed=1) as s:
            with pytest.raises(AuthUnavailable):
                await s.client(credentials="word", connect_timeout=3.0)
            await s.sleep(1.5)
            assert server.at_work == 0

    run(main)


def test_of_who_leaves_while_the_hook_is_at_work_nothing_stays() -> None:
    async def main() -> None:
        server = Guarded(takes=3.0)
        async with system(server, seed=1) as s:
            opening = asyncio.ensure_future(s.client(credentials="word"))
            await s.sleep(1.0)
            assert server.at_work == 1
            opening.cancel()
            await asyncio.wait([opening])
            await s.sleep(0.5)
            assert server.at_work == 0
            assert server.clients == []
            assert len(s.host.broker.admission) == 0

    run(main)


def test_a_server_stops_while_a_hook_is_at_work() -> None:
    async def main() -> None:
        server = Guarded(takes=1000.0, auth_timeout=900.0)
        async with system(server, seed=1) as s:
            opening = asyncio.ensure_future(s.client(credentials="word"))
            await s.sleep(1.0)
            await s.stop()
            assert server.at_work == 0
            opening.cancel()
            await asyncio.wait([opening])

    run(main)


def test_a_session_outlives_what_it_was_opened_with() -> None:
    """Its token is not asked for again while the session lives; the server ends it if it wants to."""

    async def main() -> None:
        server = Guarded()
        async with system(server, seed=1) as s:
            client = await s.client(credentials="word")
            s.drop(client)
            await s.sleep(3.0)
            assert client.connected
            assert len(server.asked) == 1
            await client.send("message", "go")
            await s.sleep(1.0)
            assert client.closed
            assert isinstance(client.error, SessionEnded)
            assert str(client.error) == "closing time"
            assert server.clients == []

    run(main)


# Credentials from a function.


def test_a_function_gives_fresh_credentials_for_each_session() -> None:
    async def main() -> None:
        server = Guarded()
        async with system(server, seed=1) as s:
            given = 0

            async def fetch() -> str:
                nonlocal given
                given += 1
                await asyncio.sleep(0.5)
                return "word"

            await s.client(credentials=fetch)
            await s.client(credentials=fetch)
            await s.client(credentials=lambda: "word")
            assert given == 2
            assert len(server.clients) == 3

    run(main)


def test_a_function_that_fails_is_told_as_what_it_is() -> None:
    async def main() -> None:
        async with system(Guarded(), seed=1) as s:

            async def fail() -> str:
                raise OSError("the issuer wants the password hunter2")

            with pytest.raises(CredentialsError) as caught:
                await s.client(credentials=fail)
            assert isinstance(caught.value.__cause__, OSError)
            assert "hunter2" not in str(caught.value)
            with pytest.raises(CredentialsError) as caught:
                await s.client(credentials=lambda: "x" * 20_000)
            assert isinstance(caught.value.__cause__, PayloadError)

    run(main)


@pytest.mark.parametrize(
    "credentials",
    ["x" * 16_000, object(), {1: 2}, [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]],
    ids=["long", "object", "number as key", "nested"],
)
def test_credentials_that_no_server_takes_are_refused_at_once(credentials: Any) -> None:
    async def main() -> None:
        async with system(Guarded(), seed=1) as s:
            with pytest.raises(PayloadError):
                await s.client(credentials=credentials)

    run(main)


def test_a_client_that_closes_while_its_function_is_at_work_leaves_nothing() -> None:
    async def main() -> None:
        server = Guarded()
        async with system(server, seed=1) as s:
            opening = asyncio.ensure_future(s.client(credentials=lambda: asyncio.sleep(1000.0)))
            await s.sleep(1.0)
            opening.cancel()
            await asyncio.wait([opening])
            assert server.clients == []

    run(main)


def test_the_largest_credentials_fit() -> None:
    async def main() -> None:
        server = Guarded()
        async with system(server, seed=1) as s:
            with pytest.raises(AuthRefused):
                await s.client(credentials={"token": "x" * 15_700})
            assert len(server.asked) == 1

    run(main)
