"""How the report looks, by day and by night. The colours of lines can be told apart by those who see few colours."""

__all__ = ["STYLE"]

_LIGHT = (
    "--paper:#ffffff;--card:#f6f7f9;--ink:#1c2330;--faint:#5d6778;--rule:#dde1e8;--good:#0a7040;--bad:#b3261e;"
    "--c0:#0072b2;--c1:#c75a00;--c2:#008a63;--c3:#a8438a;--c4:#7a6a00;--c5:#4d5665;"
)
_DARK = (
    "--paper:#12161d;--card:#1b212b;--ink:#e6eaf1;--faint:#9aa5b6;--rule:#323b49;--good:#4cc38a;--bad:#ff8a80;"
    "--c0:#56b4e9;--c1:#ff9f45;--c2:#35c796;--c3:#e58acb;--c4:#e0cf3f;--c5:#aab4c4;"
)

STYLE = (
    f":root{{color-scheme:light dark;{_LIGHT}}}"
    f"@media(prefers-color-scheme:dark){{:root{{{_DARK}}}}}"
    """
body{margin:0 auto;padding:2rem 1.25rem 3rem;max-width:60rem;background:var(--paper);color:var(--ink);
 font:16px/1.5 system-ui,sans-serif}
h1{margin:0;font-size:1.6rem}h2{margin:0 0 .6rem;font-size:1.05rem}p{margin:.3rem 0}
.faint,.none{color:var(--faint)}
.verdict{margin:1.2rem 0;padding:.7rem 1rem;border-left:.35rem solid var(--good);background:var(--card)}
.verdict.bad{border-color:var(--bad)}.verdict strong{color:var(--good)}.verdict.bad strong{color:var(--bad)}
.verdict ul{margin:.3rem 0 0;padding-left:1.2rem}
section{margin:1.2rem 0;padding:1rem 1.1rem;background:var(--card);border-radius:.5rem;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{font-weight:600;color:var(--faint)}th,td{padding:.3rem .6rem .3rem 0;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal}tr+tr>*{border-top:1px solid var(--rule)}
.holds{color:var(--good)}.broken{color:var(--bad);font-weight:600}pre{margin:0;white-space:pre-wrap}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.7rem;margin:1.2rem 0}
.tile{padding:.7rem .9rem;background:var(--card);border-radius:.5rem}
.tile b{display:block;font-size:1.35rem;font-weight:600}.tile span{color:var(--faint);font-size:.9rem}
svg{display:block;width:100%;height:auto}svg text{fill:var(--faint);font:12px system-ui,sans-serif}
text.y{text-anchor:end}text.x{text-anchor:middle}.grid{stroke:var(--rule)}
polyline{fill:none;stroke-width:2;stroke-linejoin:round}
.legend{display:flex;flex-wrap:wrap;gap:.1rem 1.2rem;margin:0 0 .5rem;padding:0;list-style:none;font-size:.9rem}
.key{display:inline-block;width:1.1rem;height:.25rem;margin-right:.4rem;vertical-align:middle;border-radius:.1rem}
"""
    + "".join(
        f"polyline.l{at}{{stroke:var(--c{at})}}circle.l{at}{{fill:var(--c{at})}}.key.l{at}{{background:var(--c{at})}}"
        for at in range(6)
    )
)
"""Of the page and its charts."""
