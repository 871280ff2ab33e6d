"""Each code on the wire is exactly one class, and the tree tells what to do next."""

import ast
import inspect
import re

import pytest

from server_room_system.protocol import (
    AddressInUse,
    Backpressure,
    BadMessage,
    BrokerUnreachable,
    Code,
    FinalClose,
    IllegalTransition,
    Kicked,
    RemoteError,
    RequestError,
    RequestRefused,
    ServerRoomError,
    TemporaryClose,
    TimedOut,
    UsageError,
    error_for,
    errors,
)

RANGES: dict[int, type[RemoteError]] = {1: RequestError, 2: TemporaryClose, 3: FinalClose}


def descendants(base: type[Exception]) -> set[type[Exception]]:
    ours = {sub for sub in base.__subclasses__() if sub.__module__ == errors.__name__}
    return ours.union(*(descendants(sub) for sub in ours))


REMOTE = sorted(descendants(RemoteError) - set(RANGES.values()), key=lambda cls: cls.__name__)


def test_each_code_is_exactly_one_class() -> None:
    by_code: dict[int, list[str]] = {int(code): [] for code in Code}
    for cls in REMOTE:
        assert issubclass(cls, RemoteError)
        by_code[int(cls.code)].append(cls.__name__)
    assert {code: names for code, names in by_code.items() if len(names) != 1} == {}
    assert len({int(code) for code in Code}) == len(list(Code.__members__)), "no code has two names"


@pytest.mark.parametrize("code", list(Code), ids=lambda code: code.name)
def test_the_thousands_of_a_code_are_its_base_class(code: Code) -> None:
    error = error_for(code)
    bases = [base for base in RANGES.values() if isinstance(error, base)]
    assert bases == [RANGES[code // 1000]]
    assert type(error).__bases__ == (bases[0],)


@pytest.mark.parametrize("code", list(Code), ids=lambda code: code.name)
def test_the_name_of_a_code_is_the_name_of_its_class(code: Code) -> None:
    words = re.findall("[A-Z][a-z]*", type(error_for(code)).__name__)
    assert "_".join(words).upper() == code.name


@pytest.mark.parametrize("code", list(Code), ids=lambda code: code.name)
def test_an_error_keeps_code_text_and_data_apart(code: Code) -> None:
    error = error_for(code, "what happened", {"k": 1})
    assert (error.code, error.text, error.data, str(error)) == (code, "what happened", {"k": 1}, "what happened")
    silent = error_for(code)
    assert silent.text == silent.meaning == str(silent)
    assert silent.data is None
    assert 0 < len(silent.meaning) <= 512
    assert silent.meaning != RemoteError.meaning


def test_meanings_are_distinct() -> None:
    meanings = [error_for(code).meaning for code in Code]
    assert len(set(meanings)) == len(meanings)


@pytest.mark.parametrize(
    ("code", "base"),
    [
        (1999, RequestError),
        (1009, RequestError),
        (2999, TemporaryClose),
        (3999, FinalClose),
        (0, FinalClose),
        (999, FinalClose),
        (4000, FinalClose),
        (65535, FinalClose),
    ],
)
def test_a_newer_peers_code_still_says_whether_to_come_back(code: int, base: type[RemoteError]) -> None:
    error = error_for(code, "", [1])
    assert type(error) is base
    assert error.code == code
    assert error.data == [1]
    assert str(code) in str(error)
    assert error_for(code, "text").text == "text"


def test_a_subclass_of_a_users_own_does_not_take_a_code_over() -> None:
    class TooPoor(RequestRefused):
        meaning = "not enough gold"

    assert type(error_for(Code.REQUEST_REFUSED)) is RequestRefused
    assert TooPoor().code == Code.REQUEST_REFUSED
    assert TooPoor().text == "not enough gold"


def test_the_tree_is_the_one_that_is_drawn() -> None:
    """The drawing at the top of the module shows every class but the leaves of RemoteError."""
    drawn: dict[str, str] = {}
    branch = ["ServerRoomError"]
    for indent, name in re.findall(r"^    ([ │]*[├└]── )([A-Z][A-Za-z]+)", errors.__doc__ or "", re.MULTILINE):
        branch[len(indent) // 4 :] = [name]
        drawn[name] = branch[-2]
    assert drawn == {cls.__name__: cls.__bases__[0].__name__ for cls in descendants(ServerRoomError) - set(REMOTE)}


def test_misuse_and_misbehaviour_share_no_class() -> None:
    assert not descendants(UsageError) & descendants(RemoteError)
    assert not issubclass(RemoteError, UsageError)


def test_every_class_of_the_module_is_public_and_has_the_one_base() -> None:
    names = {node.name for node in ast.parse(inspect.getsource(errors)).body if isinstance(node, ast.ClassDef)}
    assert names <= set(errors.__all__)
    assert {cls.__name__ for cls in descendants(ServerRoomError)} == names - {"Code", "ServerRoomError"}


def test_local_errors_carry_fields_and_say_what_to_do() -> None:
    unreachable = BrokerUnreachable("tcp://h:1", 2.5, 1)
    assert (unreachable.address, unreachable.waited, unreachable.attempts) == ("tcp://h:1", 2.5, 1)
    assert "tcp://h:1 within 2.5 s (1 attempt)" in str(unreachable)
    assert "(3 attempts)" in str(BrokerUnreachable("tcp://h:1", 2.5, 3))
    timed_out = TimedOut("reply", 1.5)
    assert (timed_out.what, timed_out.waited, str(timed_out)) == ("reply", 1.5, "no reply within 1.5 s")
    assert isinstance(timed_out, TimeoutError)
    assert Backpressure(256).unacked == 256
    assert "256 messages" in str(Backpressure(256))
    assert AddressInUse("tcp://h:1").address in str(AddressInUse("tcp://h:1"))
    illegal = IllegalTransition("Seat", "left", "join")
    assert (illegal.machine, illegal.state, illegal.event) == ("Seat", "left", "join")
    assert str(illegal) == "Seat: no join while left"


def test_one_base_catches_everything() -> None:
    for error in (BadMessage(), Kicked("out"), Backpressure(1), TimedOut("x", 1.0)):
        with pytest.raises(ServerRoomError):
            raise error
