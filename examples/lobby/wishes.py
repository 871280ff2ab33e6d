"""What people type, as filters and as descriptions of tables."""

from typing import Any

__all__ = ["description", "fitting", "where"]


def where(words: list[str]) -> dict[str, Any]:
    """A filter: ``game=chess,go`` is a choice, ``level=3-5`` (or ``3-``) a range, ``title=Fri*`` a beginning.

    Raises:
        ValueError: a word is none of these.
    """
    return {name: _condition(said) for name, said in map(_pair, words)}


def description(words: list[str]) -> dict[str, Any]:
    """What a table is to say of itself: ``game=go level=4``; the words without ``=`` are its title.

    Raises:
        ValueError: a word has no name before its ``=``, or nothing behind it.
    """
    title = " ".join(word for word in words if "=" not in word)
    about = {name: _value(said) for name, said in map(_pair, (word for word in words if "=" in word))}
    return {"title": title, **about} if title else about


def fitting(wanted: dict[str, Any]) -> dict[str, Any]:
    """How a new table has to be, so that the filter fits it."""
    about: dict[str, Any] = {}
    for name, condition in wanted.items():
        if isinstance(condition, list):
            about[name] = condition[0]
        elif isinstance(condition, dict):
            about[name] = condition.get("min", condition.get("max", condition.get("prefix")))
        else:
            about[name] = condition
    return about


def _pair(word: str) -> tuple[str, str]:
    name, _, said = word.partition("=")
    if not name or not said:
        raise ValueError(f"{word!r}: say it like level=3")
    return name, said


def _condition(said: str) -> Any:
    if said.endswith("*"):
        return {"prefix": said[:-1]}
    least, dash, most = said.partition("-")
    if dash and (least + most).isdecimal() and (least.isdecimal() or not least) and (most.isdecimal() or not most):
        return {name: int(bound) for name, bound in (("min", least), ("max", most)) if bound}
    return [_value(one) for one in said.split(",")] if "," in said else _value(said)


def _value(said: str) -> str | int:
    return int(said) if said.isdecimal() else said
