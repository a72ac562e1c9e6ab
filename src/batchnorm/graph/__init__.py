"""A model's structure: its layers, in which order they run, and which takes what of which.

From a model's config, from a run, or from names alone; no array is looked at here, and no
framework known. `batchnorm.graph(model)` makes one (`batchnorm.convert.structure`).
"""

from batchnorm.graph.graph import Graph, Layer

__all__ = ["Graph", "Layer"]
