"""The whole core on one implementation, for the length of a test."""

from batchnorm.core import kernel


def use(monkeypatch, implementation):
    for name in ("reduce", "normalize", "reduce_gradient", "input_gradient"):
        monkeypatch.setattr(kernel, name, getattr(implementation, name))
    for name in ("forward", "infer", "backward"):
        own = getattr(implementation, name, lambda *_: None)
        monkeypatch.setattr(kernel, f"whole_{name}", own)
    monkeypatch.setattr(kernel, "arranged", getattr(implementation, "arranged", lambda *_: None))
