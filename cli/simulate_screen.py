"""What ``srs simulate`` shows in a terminal."""

from collections.abc import Callable, Sequence

from ..lab.shown import shown_share, shown_wait
from ..lab.waiting import QueueFigures, Spread
from .screen import Palette, printable, table

__all__ = ["lines_of"]

_ENDS = {"cancelled": "  gave up", "refused": "  refused", "waiting": "still waiting at the end"}
"""What becomes of a ticket that is not matched, and what it is called."""

_Row = tuple[str, Callable[[QueueFigures], str]]


def lines_of(figures: Sequence[QueueFigures], title: str, paint: Palette) -> list[str]:
    """The result for people: a row for each figure, a column for each policy."""
    rows: list[_Row] = [
        ("tickets", lambda each: f"{each.tickets:,}"),
        ("players", lambda each: f"{each.players:,}"),
        ("matched", lambda each: _share(each.matched)),
        ("unmatched", lambda each: _share(each.unmatched)),
        *((name, _ended(how)) for how, name in _ENDS.items() if any(each.ended.get(how) for each in figures)),
        ("matches", lambda each: f"{each.matches:,}"),
        *([("  with fewer than wanted", _short)] if any(each.short for each in figures) else []),
        *([("  bots in all", _bots)] if any(each.bots for each in figures) else []),
        ("", lambda each: ""),
        *_spread("wait of the matched", lambda each: each.wait, shown_wait),
        ("longest wait of all", lambda each: shown_wait(each.longest.wait if each.longest else None)),
        ("  its rating, and its end", _longest),
        ("", lambda each: ""),
        *_spread("rating spread in a match", lambda each: each.rating_spread, _rating),
        *(
            _spread("gap between teams", lambda each: each.team_gap, _rating)
            if any(each.team_gap.most is not None for each in figures)
            else []
        ),
        ("tickets waiting, p50", lambda each: _rating(each.waiting.p50)),
        ("  most", lambda each: _rating(each.waiting.most)),
    ]
    heads = [["", *(printable(each.policy, 24) for each in figures)]]
    cells = [[name, *(tell(each) for each in figures)] for name, tell in rows]
    lines = table(heads + cells, right=frozenset(range(1, len(figures) + 1)))
    return [paint(title, "bold"), "", paint(lines[0], "bold"), *lines[1:]]


def _spread(name: str, of: Callable[[QueueFigures], Spread], show: Callable[[float | None], str]) -> list[_Row]:
    return [
        (f"{name}, p50", lambda each: show(of(each).p50)),
        ("  p90", lambda each: show(of(each).p90)),
        ("  p99", lambda each: show(of(each).p99)),
    ]


def _ended(how: str) -> Callable[[QueueFigures], str]:
    return lambda each: _share(each.ended.get(how, 0) / max(1, each.tickets))


def _share(share: float) -> str:
    """With a digit more where it is little."""
    return shown_share(share) if 0.1 <= share <= 0.9 or share in (0, 1) else f"{share:.2%}".replace("%", " %")


def _short(each: QueueFigures) -> str:
    return _share(each.short / max(1, each.matches))


def _bots(each: QueueFigures) -> str:
    return f"{each.bots:,}"


def _longest(each: QueueFigures) -> str:
    return "-" if each.longest is None else f"{each.longest.rating:,.0f}, {each.longest.ended}"


def _rating(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
