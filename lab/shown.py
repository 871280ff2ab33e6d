"""Figures as people read them: three digits and a unit."""

__all__ = ["shown_memory", "shown_share", "shown_time", "shown_wait"]


def shown_time(seconds: float | None) -> str:
    """``1.25 ms``; a dash for none."""
    if seconds is None:
        return "-"
    value, unit = next(
        ((seconds * factor, unit) for factor, unit in ((1e6, "µs"), (1e3, "ms")) if seconds * factor < 999.5),
        (seconds, "s"),
    )
    digits = 0 if value >= 99.5 else 1 if value >= 9.95 else 2
    return f"{value:.{digits}f} {unit}"


def shown_share(share: float) -> str:
    """``45 %``, of one core."""
    return f"{share:.0%}".replace("%", " %")


def shown_memory(size: float) -> str:
    """``42 MB``, of a million bytes each."""
    return f"{size / 1e6:,.0f} MB"


def shown_wait(seconds: float | None) -> str:
    """``12.5 s``, ``3 min 20 s``, ``2 h 05 min``: how long somebody waited; a dash for none."""
    if seconds is None:
        return "-"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"
