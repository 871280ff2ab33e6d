"""The report as one HTML page."""

from .budget import Verdict
from .figures import Figures

__all__ = ["html_report"]


def html_report(figures: Figures, verdicts: list[Verdict], problems: list[str]) -> str:
    """The page."""
    return f"<!doctype html><title>{figures.scenario}</title>"
