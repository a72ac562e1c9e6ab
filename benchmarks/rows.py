"""The rows of a table, read from a shape file. Not here: data and timing (`batchnorm.cli.measure`).

A shape file holds lines of four kinds; all but the first hold for the shapes below them:

    32 64 56 56                        a shape N C H W (or N C): one row per task, layout and type
    types float32 bfloat16             the types of x (parameters are float32)
    layouts first                      the layouts, of first and last
    moves training first x y           what a task must move at least: each tensor as often as it
                                       is read or written; the row's limit is a loop of just that
"""

from __future__ import annotations

from pathlib import Path

from batchnorm.cli.measure import MOVES, TASKS, Case

__all__ = ["SHAPES", "read"]

SHAPES = Path(__file__).parent / "shapes"


def read(name: str) -> list[Case]:
    """The rows of one file, by its name in `shapes/` or its path."""
    path = SHAPES / f"{name}.txt"
    rows: list[Case] = []
    types, layouts, moves = ["float32"], ["first", "last"], dict(MOVES)
    for line in (path if path.exists() else Path(name)).read_text().splitlines():
        words = line.partition("#")[0].split()
        match words:
            case []:
                continue
            case ["types", *types]:
                continue
            case ["layouts", *layouts]:
                continue
            case ["moves", task, layout, *tensors]:
                moves[task, layout] = tuple(tensors)
            case _:
                shape = tuple(map(int, words))
                for dtype in types:
                    rows += [
                        Case(task, shape, layout, dtype, moves[task, layout])
                        for task in TASKS
                        for layout in layouts
                        # without other axes behind it, the channel axis is first and last
                        if layout == "first" or len(shape) > 2
                    ]
    return rows
