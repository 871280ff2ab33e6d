"""Draws the pictures of ``matchmaking.md`` and writes its table: python docs/pictures.py. Needs ``[plot]``."""

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from server_room_system.broker.queues import Entrant, Matcher, MatchQueue, Ticket, Window
from server_room_system.lab.queue_pictures import new_figure, write_figure

DOCUMENT = Path(__file__).with_name("matchmaking.md")
HERE = DOCUMENT.with_name("pictures")
SRS = (sys.executable, "-c", "from server_room_system.cli import main; main()")
INK, FAINT, RULE = "#1c2330", "#5d6778", "#dde1e8"
COLOURS = ("#0072b2", "#c75a00", "#7a6a00", "#008a63", "#a8438a")
LAST = 40.0
"""Seconds that the picture shows."""


WINDOW = Window(start=50, per_second=10, most=300)


class Ranked(MatchQueue):
    """The policy of the picture."""

    window = WINDOW


PLAYERS = (
    ("Ann", 0.0, 1500.0), ("Bob", 4.0, 1680.0), ("Eve", 6.0, 1100.0), ("Cem", 10.0, 2010.0), ("Dora", 14.0, 1800.0),
)  # fmt: skip
"""Name, when it comes, and its rating."""


def story() -> tuple[dict[str, float], list[tuple[float, str, str]]]:
    """What the matcher makes of them: until when each waits, and who meets whom when."""
    matcher, now = Matcher(Ranked(), "ranked"), 0.0
    coming = list(PLAYERS)
    names: dict[int, str] = {}
    meetings: list[tuple[float, str, str]] = []
    while True:
        due = matcher.due()
        times = [at for at in (due, coming[0][1] if coming else None) if at is not None]
        if not times:
            break
        now = max(now, min(times))
        if coming and coming[0][1] <= now:
            name, since, rating = coming.pop(0)
            number = len(names) + 1
            names[number] = name
            matcher.add(Ticket(number, (Entrant(name, rating=rating),), since), now)
        more = True
        while more:
            matches, more = matcher.work(now)
            for match in matches:
                one, other = sorted(names[ticket.number] for ticket in match.tickets)
                meetings.append((now, one, other))
    until = {name: at for at, one, other in meetings for name in (one, other)}
    return until, meetings


def windows() -> None:
    """How far each player looks while it waits, and when two see each other."""
    until, meetings = story()
    ratings = {name: rating for name, _, rating in PLAYERS}
    figure = new_figure(9.0, 5.0)
    axes = figure.subplots()
    for (name, since, rating), colour in zip(PLAYERS, COLOURS, strict=True):
        end = until.get(name, LAST)
        times = [since + (end - since) * step / 60 for step in range(61)]
        reach = [WINDOW.after(at - since) for at in times]
        axes.fill_between(
            times, [rating - far for far in reach], [rating + far for far in reach], color=colour, alpha=0.13, lw=0
        )
        for sign in (1, -1):
            axes.plot(times, [rating + sign * far for far in reach], color=colour, lw=1.2)
        axes.plot([since, end], [rating, rating], color=colour, lw=2.2)
        axes.plot([since], [rating], marker="o", color=colour)
        axes.annotate(
            f"{name}, {rating:.0f}", (since, rating), (6, 5), textcoords="offset points", color=colour, weight="bold"
        )
    for at, one, other in meetings:
        axes.plot([at, at], [ratings[one], ratings[other]], color=INK, lw=2, marker="o", ms=5)
        axes.annotate(
            f"{one} and {other}, {at:.0f} s", (at, (ratings[one] + ratings[other]) / 2), (7, -3),
            textcoords="offset points", color=INK,
        )  # fmt: skip
    axes.set_xlim(0, LAST)
    axes.set_xlabel("seconds", color=FAINT)
    axes.set_ylabel("rating", color=FAINT)
    axes.set_title(
        "Window(start=50, per_second=10, most=300): two meet when each is in the other's window",
        loc="left", fontsize=11, color=INK,
    )  # fmt: skip
    axes.grid(visible=True, color=RULE)
    axes.tick_params(colors=FAINT, length=0)
    for spine in axes.spines.values():
        spine.set_color(RULE)
    write_figure(figure, HERE / "window.svg")


def command(text: str) -> list[str]:
    """The words of ``srs simulate`` as the document has them, without the first."""
    (found,) = re.findall(r"```sh\n(srs simulate (?:.*\\\n)*.*)\n```", text)
    return shlex.split(found.replace("\\\n", " "))[1:]


def programs(text: str) -> dict[str, str]:
    """The programs of the document by the names of their files."""
    return dict(re.findall(r"```python\n(?=# (\w+\.py)\n)(.*?)```", text, re.DOTALL))


def policies() -> None:
    """What the document's command says of the document's program, and its picture."""
    text = DOCUMENT.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for name, program in programs(text).items():
            (Path(folder) / name).write_text(program, encoding="utf-8")
        words = command(text)
        words[words.index("--picture") + 1] = str(HERE.absolute() / "simulate.png")
        done = subprocess.run([*SRS, *words], cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    table = done.stdout.rpartition("\n\n")[0]
    DOCUMENT.write_text(re.sub(r"```text\n.*?```", f"```text\n{table}\n```", text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    windows()
    policies()
