"""A plot as one SVG that needs nothing else; curves differ in dash and mark, not just in colour."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from batchnorm.explain.page import Panel, Plot
from batchnorm.explain.renderers.markdown import GENERATED

__all__ = ["render"]

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, GAP, LINE = 340, 190, 46, 26, 26, 20, 18
MARKS = ("M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0", "M0-4L4 3H-4Z", "M-3-3h6v6h-6z", "M0-4L4 0L0 4L-4 0Z")
STYLE = """
svg{--i:#1f2328;--s:#59636e;--p:#fff;--l:#d1d9e0;--0:#1a5fb4;--1:#b5330b;--2:#7a5c00;--3:#8839a8}
@media(prefers-color-scheme:dark){svg{--i:#e6edf3;--s:#9198a1;--p:#161b22;--l:#3d444d;
--0:#78aeed;--1:#ff9a6b;--2:#e0c46c;--3:#d6a2ea}}
text{font:12px system-ui,"Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif;
fill:var(--s)}
.t{fill:var(--i);font-weight:600}.g{stroke:var(--l)}.p{fill:var(--p)}
.c{fill:none;stroke-width:1.6}.c0{stroke:var(--0);stroke-width:3}
.c1{stroke:var(--1);stroke-dasharray:2 2}.c2{stroke:var(--2);stroke-dasharray:6 3}
.c3{stroke:var(--3);stroke-dasharray:6 2 1 2}
.m0{fill:var(--0)}.m1{fill:var(--1)}.m2{fill:var(--2)}.m3{fill:var(--3)}
"""


def render(plot: Plot) -> str:
    """The drawing, with the title for readers who don't see it."""
    curves = plot.panels[0].curves
    width = len(plot.panels) * WIDTH + GAP
    height = TOP + HEIGHT + BOTTOM + LINE * len(curves) + 8
    parts = [f'<rect class="p" width="{width}" height="{height}" rx="6"/>']
    for number, panel in enumerate(plot.panels):
        parts += _panel(panel, plot.step, number * WIDTH)
    for number, curve in enumerate(curves):
        y = TOP + HEIGHT + BOTTOM + 6 + LINE * number
        parts.append(f'<path class="c c{number}" d="M{LEFT} {y}h40"/>{_mark(number, LEFT + 20, y)}')
        parts.append(f'<text x="{LEFT + 48}" y="{y + 4}">{escape(curve.label)}</text>')
    title = escape(plot.name)
    return (
        f'{GENERATED}\n<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{title}">\n'
        f"<title>{title}</title><style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _panel(panel: Panel, step: str, left: int) -> Iterator[str]:
    shown = [v for curve in panel.curves for v in curve.values if math.isfinite(v)]
    low, high = min(shown), max(shown)
    low, high = (low - 0.5, high + 0.5) if low == high else (low, high)
    last = max(len(curve.values) for curve in panel.curves) - 1
    right, bottom = left + WIDTH, TOP + HEIGHT

    def x(number: int) -> int:
        return round(left + LEFT + (WIDTH - LEFT - 10) * number / last)

    def y(value: float) -> int:
        return round(bottom - (HEIGHT - 10) * (value - low) / (high - low))

    yield f'<text class="t" x="{left + LEFT}" y="16">{escape(panel.title)}</text>'
    for tick in _ticks(low, high):
        yield f'<path class="g" d="M{left + LEFT} {y(tick)}H{right - 10}"/>'
        yield f'<text x="{left + LEFT - 5}" y="{y(tick) + 4}" text-anchor="end">{tick:g}</text>'
    for number in range(0, last + 1, 10):
        text = f"{step} {number}" if number == 0 else str(number)
        yield f'<text x="{x(number)}" y="{bottom + 17}" text-anchor="middle">{escape(text)}</text>'
    for number, curve in enumerate(panel.curves):
        points = [(x(i), y(v)) for i, v in enumerate(curve.values) if math.isfinite(v)]
        line = "L".join(f"{px} {py}" for px, py in points)
        yield f'<path class="c c{number}" d="M{line}"/>'
        yield "".join(_mark(number, *at) for at in points[3 * number + 2 :: 12])


def _mark(number: int, x: int, y: int) -> str:
    shape = MARKS[number % len(MARKS)]
    return f'<path class="m{number}" d="{shape}" transform="translate({x} {y})"/>'


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between the two, about four."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(f * power for f in (1, 2, 5, 10) if f * power >= rough)
    first, last = math.ceil(low / size), math.floor(high / size)
    return [round(number * size, 10) for number in range(first, last + 1)]
