"""Which layer of a live model feeds which: what both Kerases share (`keras`)."""

from batchnorm.frameworks.keras.tracing import steps_of

__all__ = ["steps_of"]
