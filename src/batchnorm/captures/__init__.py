"""The inputs of a live model's batch norms during a pass with batch statistics, per framework.

Each module has `watched` (a context in which every batch norm named normalizes by its batch and
tells its input; afterwards all is as before), `run` (a model on one batch) and `write` (values into
a layer). No framework is imported: who holds a model has done so.
"""
