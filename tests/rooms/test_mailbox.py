"""The mailbox: one event at a time, whatever hooks do."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from server_room_system import RequestRefused
from server_room_system.rooms.mailbox import Mailbox

from .fakes import Gate, Hooks


class Case:
    """A mailbox, and what happened in it."""

    def __init__(self) -> None:
        self.out = Hooks()
        self.log: list[Any] = []
        self.mailbox = Mailbox("r1", self.out, self.on_error)

    def on_error(self, hook: str, error: BaseException) -> Any:
        self.log.append(("error", hook, str(error)))

    def post_hook(self, name: str, function: Callable[..., Any], *args: Any) -> None:
        self.mailbox.post(self.mailbox.call, name, function, args, self.then(name))

    def then(self, name: str) -> Callable[[Any, BaseException | None], None]:
        return lambda result, error: self.log.append((name, result, str(error) if error is not None else None))


def test_a_plain_hook_is_over_when_it_returns() -> None:
    case = Case()
    case.post_hook("add", lambda a, b: a + b, 1, 2)
    assert case.log == [("add", 3, None)]
    assert not case.mailbox.busy
    assert len(case.mailbox) == 0
    assert case.out.current is case.mailbox
    assert case.mailbox.hook == "add"


def test_what_comes_while_an_async_hook_waits_waits_behind_it() -> None:
    case, gate = Case(), Gate()

    async def slow() -> str:
        case.log.append("slow begins")
        return f"slow {await gate}"

    case.post_hook("slow", slow)
    case.post_hook("quick", lambda: case.log.append("quick"))
    case.mailbox.post(case.log.append, "event")
    case.out.settle()
    assert case.log == ["slow begins"]
    assert case.mailbox.busy
    assert len(case.mailbox) == 2
    gate.open("done")
    case.out.settle()
    assert case.log == ["slow begins", ("slow", "slow done", None), "quick", ("quick", None, None), "event"]
    assert not case.mailbox.busy


def test_async_hooks_of_a_room_never_overlap() -> None:
    case, gates = Case(), [Gate(), Gate(), Gate()]

    async def hook(number: int) -> None:
        case.log.append(f"{number} begins")
        await gates[number]
        case.log.append(f"{number} ends")

    for number in (0, 1, 2):
        case.post_hook(str(number), hook, number)
    gates[2].open()
    case.out.settle()
    assert case.log == ["0 begins"]
    gates[0].open()
    while case.out.settle():
        pass
    assert case.log == ["0 begins", "0 ends", ("0", None, None), "1 begins"]
    gates[1].open()
    while case.out.settle():
        pass
    assert case.log[3:] == ["1 begins", "1 ends", ("1", None, None), "2 begins", "2 ends", ("2", None, None)]


def test_mailboxes_do_not_wait_for_each_other() -> None:
    case, gate = Case(), Gate()
    other = Mailbox("r2", case.out, case.on_error)

    async def slow() -> None:
        await gate

    case.post_hook("slow", slow)
    other.post(other.call, "quick", lambda: case.log.append("quick"), ())
    assert case.log == ["quick"]
    gate.open()
    case.out.settle()
    assert case.log == ["quick", ("slow", None, None)]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit("no"), RecursionError("no")])
def test_what_a_hook_raises_costs_that_event_alone(error: BaseException) -> None:
    case = Case()

    def broken() -> None:
        case.mailbox.post(case.log.append, "came meanwhile")
        raise error

    case.post_hook("broken", broken)
    assert case.log == [("broken", None, "no"), ("error", "broken", "no"), "came meanwhile"]
    case.post_hook("next", lambda: 5)
    assert case.log[-1] == ("next", 5, None)


def test_what_an_async_hook_raises_costs_that_event_alone(caplog: pytest.LogCaptureFixture) -> None:
    case, gate = Case(), Gate()

    async def broken() -> None:
        await gate

    case.post_hook("broken", broken)
    case.mailbox.post(case.log.append, "came meanwhile")
    gate.fail(ValueError("no"))
    case.out.settle()
    assert case.log == [("broken", None, "no"), ("error", "broken", "no"), "came meanwhile"]
    assert not case.mailbox.busy
    (record,) = caplog.records
    assert record.getMessage() == "room r1: broken raised ValueError"
    assert record.exc_info is not None
    assert record.name == "server_room_system.rooms"


def test_a_refusal_in_words_for_the_client_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    case = Case()
    caplog.set_level("INFO", "server_room_system.rooms")

    def refuse() -> None:
        raise RequestRefused("too poor")

    case.post_hook("buy", refuse)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "room r1: buy refused: too poor")
    ]
    assert case.log[0] == ("buy", None, "too poor")


def test_the_keyboards_interrupt_is_nobodys_to_contain() -> None:
    case = Case()

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        case.post_hook("interrupted", interrupted)


def test_an_error_in_on_error_goes_to_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    case = Case()

    def on_error(hook: str, error: BaseException) -> None:
        case.log.append(hook)
        raise LookupError("worse")

    case.mailbox = Mailbox("r1", case.out, on_error)
    case.post_hook("broken", lambda: 1 / 0)
    assert case.log == [("broken", None, "division by zero"), "broken"]
    assert [record.getMessage() for record in caplog.records] == [
        "room r1: broken raised ZeroDivisionError",
        "room r1: on_error raised LookupError",
    ]
    assert not case.mailbox.busy


def test_an_async_on_error_holds_events_back_like_any_hook() -> None:
    case, gate = Case(), Gate()

    async def on_error(hook: str, error: BaseException) -> None:
        case.log.append("on_error begins")
        await gate
        case.log.append("on_error ends")

    case.mailbox = Mailbox("r1", case.out, on_error)
    case.mailbox.call("broken", lambda: 1 / 0, ())
    case.mailbox.post(case.log.append, "event")
    case.out.settle()
    assert case.log == ["on_error begins"]
    gate.open()
    case.out.settle()
    assert case.log == ["on_error begins", "on_error ends", "event"]


def test_what_follows_from_a_hook_does_not_overtake_what_came_while_it_ran() -> None:
    case = Case()

    def hook() -> None:
        case.mailbox.post(case.log.append, "came meanwhile")

    def then(result: Any, error: BaseException | None) -> None:
        case.mailbox.post(case.log.append, "followed")

    case.mailbox.call("hook", hook, (), then)
    assert case.log == ["came meanwhile", "followed"]


def test_a_fault_in_what_follows_does_not_leave_the_room_busy_for_ever() -> None:
    case = Case()

    def then(result: Any, error: BaseException | None) -> None:
        raise AssertionError("ours, not the room's")

    with pytest.raises(AssertionError):
        case.mailbox.call("hook", lambda: None, (), then)
    case.post_hook("next", lambda: 5)
    assert case.log == [("next", 5, None)]


def test_thousands_of_waiting_events_do_not_recurse() -> None:
    case, gate, count = Case(), Gate(), 5 * sys.getrecursionlimit()
    handled: list[int] = []

    async def slow() -> None:
        await gate

    case.post_hook("slow", slow)
    for number in range(count):
        case.mailbox.post(case.mailbox.call, "hook", handled.append, (number,), lambda result, error: None)
    assert len(case.mailbox) == count
    gate.open()
    case.out.settle()
    assert handled == list(range(count))


def test_thousands_of_failing_events_do_not_recurse(caplog: pytest.LogCaptureFixture) -> None:
    case, gate, count = Case(), Gate(), 2 * sys.getrecursionlimit()
    caplog.set_level("CRITICAL", "server_room_system.rooms")

    async def slow() -> None:
        await gate

    case.post_hook("slow", slow)
    for _ in range(count):
        case.mailbox.post(case.mailbox.call, "broken", lambda: 1 / 0, ())
    gate.open()
    case.out.settle()
    assert case.log[1:] == [("error", "broken", "division by zero")] * count


def test_events_that_beget_events_do_not_recurse() -> None:
    case, count = Case(), 5 * sys.getrecursionlimit()

    def hook(left: int) -> None:
        if left:
            case.mailbox.post(case.mailbox.call, "hook", hook, (left - 1,))
        else:
            case.log.append("end")

    case.mailbox.call("hook", hook, (count,))
    assert case.log == ["end"]
