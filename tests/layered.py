"""A drawing of what stands on what, as one SVG: boxes in layers, every arrow down.

An arrow that passes layers bends around their boxes: it has a place of its own in each. The order
in a layer is that of the neighbours' middles, a few times down and up.
"""

import itertools
from collections import defaultdict

BOX, ROW, GAP, MARGIN, LETTER = 26, 64, 14, 12, 7.4
STYLE = """
svg{--i:#1f2328;--p:#fff;--l:#6e7781;--b:#eef2f8}
@media(prefers-color-scheme:dark){svg{--i:#e6edf3;--p:#161b22;--l:#8b949e;--b:#262d3a}}
text{font:12px ui-monospace,Consolas,monospace;fill:var(--i);text-anchor:middle}
.p{fill:var(--p)}.b{fill:var(--b);stroke:var(--l)}.a{fill:none;stroke:var(--l)}.h{fill:var(--l)}
"""


def drawing(edges: dict[str, set[str]], title: str) -> str:
    """The picture of a graph without circles: name -> the names that it stands on."""
    layers, links = _layered(edges)
    x = _places(layers, links)
    width = max(x[n] + _width(n) / 2 for layer in layers for n in layer) + MARGIN
    height = len(layers) * ROW - (ROW - BOX) + 2 * MARGIN
    y = {n: MARGIN + ROW * level for level, layer in enumerate(layers) for n in layer}
    parts = [f'<rect class="p" width="{width:.0f}" height="{height}" rx="6"/>']
    for name, others in edges.items():
        for other in sorted(others):
            parts.append(_arrow(_path(name, other, links), x, y))
    for name in sorted(edges):
        left = x[name] - _width(name) / 2
        parts.append(
            f'<rect class="b" x="{left:.0f}" y="{y[name]}" width="{_width(name):.0f}" '
            f'height="{BOX}" rx="4"/><text x="{x[name]:.0f}" y="{y[name] + 17}">{name}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" '
        f'width="{width:.0f}" height="{height}" role="img" aria-label="{title}">\n'
        f"<title>{title}</title><style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def _layered(edges):
    """The names by layers, what stands on nothing last, and the links between neighbouring layers.

    A tuple (from, to, layer) is the place of an arrow in a layer that it passes.
    """
    depth: dict[str, int] = {}

    def deep(name):
        if name not in depth:
            depth[name] = 1 + max((deep(other) for other in edges[name]), default=-1)
        return depth[name]

    top = max(map(deep, sorted(edges)))
    layers = [[] for _ in range(top + 1)]
    for name in sorted(edges):
        layers[top - depth[name]].append(name)
    links = []
    for name, others in edges.items():
        for other in sorted(others):
            between = range(top - depth[name] + 1, top - depth[other])
            stops = [name, *((name, other, level) for level in between), other]
            for level, stop in zip(between, stops[1:-1], strict=True):
                layers[level].append(stop)
            links += itertools.pairwise(stops)
    return layers, links


def _places(layers, links):
    """The middle of each box and of each place of an arrow, from the left."""
    near = defaultdict(list)
    for above, below in links:
        near[above].append(below)
        near[below].append(above)
    x = {n: 0.0 for layer in layers for n in layer}
    for layer in layers:
        _spread(layer, x, {n: 60.0 * i for i, n in enumerate(layer)})
    for turn in range(40):
        order = layers if turn % 2 == 0 else layers[::-1]
        past = set()
        for layer in order:
            seen = {n: [x[o] for o in near[n] if turn > 30 or o in past] for n in layer}
            wanted = {n: sum(v) / len(v) if v else x[n] for n, v in seen.items()}
            if turn <= 30:
                layer.sort(key=wanted.__getitem__)
            _spread(layer, x, wanted)
            past |= set(layer)
    left = min(x[n] - _width(n) / 2 for n in x)
    return {n: x[n] - left + MARGIN for n in x}


def _spread(layer, x, wanted):
    """Put a layer's boxes as near to where they are wanted as their order and widths allow."""
    right = float("-inf")
    for name in layer:
        x[name] = max(wanted[name], right + _width(name) / 2 + GAP)
        right = x[name] + _width(name) / 2
    over = sum(x[name] - wanted[name] for name in layer) / len(layer)
    for name in layer:
        x[name] -= over


def _width(name):
    return LETTER * len(name) + 16 if isinstance(name, str) else 4.0


def _path(name, other, links):
    stops = [stop for pair in links for stop in pair if stop[:2] == (name, other)]
    return [name, *sorted(set(stops), key=lambda stop: stop[2]), other]


def _arrow(path, x, y):
    start, *between, end = path
    points = [(x[start], y[start] + BOX)]
    for stop in between:
        points += [(x[stop], y[stop]), (x[stop], y[stop] + BOX)]
    points.append((x[end], y[end] - 5))
    line = "L".join(f"{px:.0f} {py}" for px, py in points)
    tip = f"M{x[end] - 4:.0f} {y[end] - 7}l4 7l4 -7z"
    return f'<path class="a" d="M{line}"/><path class="h" d="{tip}"/>'
