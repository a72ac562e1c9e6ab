"""Batch normalization of one channel in 80-digit decimals: what the numbers really are.

Every finite float is a decimal exactly, so the only rounding is that of the 80th digit. Slow on
purpose and written from the definition, two passes, sharing nothing with the package.
"""

import math
from decimal import Context, Decimal, localcontext

import ml_dtypes
import numpy as np

CONTEXT = Context(prec=80, Emax=999_999, Emin=-999_999)


def decimals(values):
    array = np.asarray(values)
    return np.array([Decimal(float(v)) for v in array.ravel()], object).reshape(array.shape)


class Channel:
    """One channel's values x, shape (n,), normalized by its own statistics."""

    def __init__(self, x, epsilon, gamma=1.0, beta=0.0):
        with localcontext(CONTEXT):
            self.x = decimals(x)
            self.gamma, self.beta = Decimal(float(gamma)), Decimal(float(beta))
            self.count = Decimal(self.x.size)
            shifted = self.x - self.x[0]  # some doubles have more than 80 digits
            self.mean = self.x[0] + shifted.sum() / self.count
            self.deviations = shifted - shifted.sum() / self.count
            self.m2 = (self.deviations * self.deviations).sum()
            self.var = self.m2 / self.count
            self.std = self.var.sqrt()
            self.inv_std = 1 / (self.var + Decimal(float(epsilon))).sqrt()
            self.alpha = self.gamma * self.inv_std
            self.x_hat = self.deviations * self.inv_std
            self.y = self.x_hat * self.gamma + self.beta

    def dx(self, dy):
        with localcontext(CONTEXT):
            dy = decimals(dy)
            dy = dy - dy[0]  # changes nothing, and a constant dy gives 0 without rounding
            slope = (dy * self.x_hat).sum() / self.count
            return self.alpha * (dy - dy.sum() / self.count - self.x_hat * slope)

    def parameter_gradients(self, dy):
        with localcontext(CONTEXT):
            dy = decimals(dy)
            return (dy * self.x_hat).sum(), dy.sum()


def ulp(magnitude, dtype):
    """The spacing of a type's numbers at a decimal magnitude."""
    info = ml_dtypes.finfo(dtype)  # which knows bfloat16, too
    exponent = max(math.frexp(float(magnitude))[1] - 1, int(info.minexp))
    with localcontext(CONTEXT):
        return Decimal(2) ** (exponent - int(info.nmant))


def error(ours, truth, unit):
    """The largest |ours - truth| in the given unit (a decimal, or one per value), as a float."""
    with localcontext(CONTEXT):
        distances = np.ravel(abs(decimals(ours) - truth))
        if not distances.any():
            return 0.0
        return float(max(distances / unit))
