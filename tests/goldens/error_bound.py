"""How far a computation of attention may be from real arithmetic.

A Bounded carries a value (in float64) and, for each element, a bound on the
distance of what a correct implementation computes in a type of unit round-off
UNIT from the value in real arithmetic. Every function propagates both with the
standard model of floating point arithmetic, fl(a op b) = (a op b)(1 + d) with
|d| <= UNIT (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
ch. 2 and 3). No function assumes an order of summation, tiling, or whether
products are fused with sums, so the bounds hold for PyTorch as for us.

The bounds are convex in UNIT and 0 at UNIT = 0: products, sums and
exponentials of nonnegative increasing convex functions are convex. A bound
computed here for float32 therefore holds for float64 when multiplied by
2^-53 / 2^-24. That is why goldens need one number, bound / UNIT, for both.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

UNIT = 2.0**-24  # float32, round to nearest

# Relative errors of elementary functions, in roundings. 1 ulp is at most two
# unit round-offs. glibc and SLEEF, which PyTorch uses, promise 1 ulp for each of
# these; we grant an implementation 2.
EXP = 4
LOG = 4
TANH = 4

# Keys that no softmax takes in more than one piece.
LONGEST_PIECE = 64


def gamma(roundings: int) -> float:
    """The relative error of that many roundings in a row (Higham, lemma 3.1)."""
    return roundings * UNIT / (1 - roundings * UNIT)


@dataclasses.dataclass
class Bounded:
    """A value, and how far from it a correct computation may end."""

    value: np.ndarray
    error: np.ndarray

    @staticmethod
    def exact(value) -> Bounded:
        value = np.asarray(value, dtype=np.float64)
        return Bounded(value, np.zeros_like(value))

    @property
    def largest(self) -> np.ndarray:
        """The largest magnitude a computed element may have."""
        return np.abs(self.value) + self.error

    def reshaped(self, *shape: int) -> Bounded:
        return Bounded(self.value.reshape(shape), self.error.reshape(shape))

    def transposed(self, *axes: int) -> Bounded:
        return Bounded(self.value.transpose(axes), self.error.transpose(axes))

    def repeated(self, times: int, axis: int) -> Bounded:
        return Bounded(
            np.repeat(self.value, times, axis), np.repeat(self.error, times, axis)
        )


def matmul(left: Bounded, right: Bounded) -> Bounded:
    """left * right over the last two axes.

    A dot product of n terms rounds each term at most n times, in any order
    (Higham, eq. 3.5); the errors of the factors come on top.
    """
    inner = left.value.shape[-1]
    return Bounded(
        left.value @ right.value,
        left.error @ np.abs(right.value)
        + np.abs(left.value) @ right.error
        + left.error @ right.error
        + gamma(inner) * (left.largest @ right.largest),
    )


def add(left: Bounded, right: Bounded) -> Bounded:
    """left + right, broadcast; one rounding."""
    value = left.value + right.value
    inherited = np.broadcast_to(left.error + right.error, value.shape)
    return Bounded(value, inherited + UNIT * (np.abs(value) + inherited))


def scale(operand: Bounded, factor: float) -> Bounded:
    """operand * factor. The factor may have been rounded to the compute type
    after a square root and a division, and may have been split between the two
    operands of a product: four roundings, and one for each product."""
    return Bounded(
        operand.value * factor,
        operand.error * abs(factor) + gamma(6) * operand.largest * abs(factor),
    )


def softcap(scores: Bounded, cap: float) -> Bounded:
    """cap * tanh(scores / cap).

    The slope is at most 1, so an error of the scores passes on at most whole.
    The rounding of cap and of the division are relative errors of the argument,
    and |x tanh'(x)| <= |tanh(x)| makes them relative errors of the result, as
    are those of tanh and of the product.
    """
    value = cap * np.tanh(scores.value / cap)
    return Bounded(
        value, scores.error + gamma(TANH + 4) * (np.abs(value) + scores.error)
    )


def _exponent_error(biased: Bounded, attended: np.ndarray):
    """Largest attended element of each row, and for each element the absolute
    error of biased - maximum as the argument of exp: the error of biased, and
    one rounding of the difference with the computed maximum (that the maximum
    itself is off does not matter: softmax is the same for every shift)."""
    values = np.where(attended, biased.value, -np.inf)
    maximum = values.max(axis=-1, keepdims=True, initial=-np.inf)
    maximum = np.where(np.isfinite(maximum), maximum, 0.0)
    error = np.where(attended, biased.error, 0.0)
    worst = error.max(axis=-1, keepdims=True, initial=0.0)
    distance = np.where(attended, np.abs(biased.value - maximum), 0.0)
    return maximum, np.where(attended, error + UNIT * (distance + error + worst), 0.0)


def softmax(biased: Bounded, attended: np.ndarray) -> Bounded:
    """softmax over the attended elements of each row; zeros on a row with none.

    An absolute error e of an argument of exp is a relative error exp(e) - 1 of
    the result. Numerator and denominator each have that, the roundings of exp,
    the denominator those of its sum, and dividing (as 1 / x and a product, say)
    makes three more.

    A softmax that goes through the keys in pieces also rescales what it has by
    exp(old maximum - new maximum) at each further piece, which is not counted
    here: the rows are no longer than any piece.
    """
    if attended.shape[-1] > LONGEST_PIECE:
        raise ValueError("a softmax may take these keys in pieces")
    maximum, error = _exponent_error(biased, attended)
    span = np.where(attended, maximum - biased.value, 0.0)
    if span.size and span.max() > 80:
        raise ValueError("exp may underflow in float32, where no bound holds")
    terms = np.where(attended, np.exp(np.minimum(biased.value - maximum, 0.0)), 0.0)
    total = terms.sum(axis=-1, keepdims=True)
    value = np.divide(terms, total, out=np.zeros_like(terms), where=total > 0)
    worst = error.max(axis=-1, keepdims=True, initial=0.0)
    roundings = 2 * EXP + attended.shape[-1] + 3
    relative = np.exp(error + worst) * (1 + gamma(roundings)) - 1
    return Bounded(value, value * relative)


def log_sum_exp(biased: Bounded, attended: np.ndarray) -> Bounded:
    """log(sum(exp)) over the attended elements, -inf without any: the maximum
    plus the logarithm of the sum of exp of the distances to it."""
    maximum, error = _exponent_error(biased, attended)
    terms = np.where(attended, np.exp(np.minimum(biased.value - maximum, 0.0)), 0.0)
    with np.errstate(divide="ignore"):
        logarithm = np.log(terms.sum(axis=-1, keepdims=True))
    alive = np.isfinite(logarithm)
    value = np.where(alive, maximum + logarithm, -np.inf)
    magnitude = np.where(alive, np.abs(logarithm), 0.0)
    worst = error.max(axis=-1, keepdims=True, initial=0.0)
    # The sum is off by the factor exp(worst) (1 + gamma), so its logarithm by
    # worst + gamma; then log and the last addition round.
    inherited = worst + gamma(EXP + attended.shape[-1])
    total = inherited + gamma(LOG) * (magnitude + inherited)
    total += UNIT * (np.where(alive, np.abs(value), 0.0) + total)
    return Bounded(value, np.where(alive, total, 0.0))


def dropout(weights: Bounded, kept: np.ndarray, probability: float) -> Bounded:
    """weights / (1 - probability) where kept, 0 elsewhere: the factor takes two
    roundings or three, the product one."""
    factor = kept / (1 - probability)
    return Bounded(
        weights.value * factor,
        weights.error * factor + gamma(4) * weights.largest * factor,
    )


def mean_over_heads(weights: Bounded) -> Bounded:
    """The sum over axis 1 divided by its size."""
    heads = weights.value.shape[1]
    return Bounded(
        weights.value.mean(axis=1, keepdims=True),
        weights.error.mean(axis=1, keepdims=True)
        + gamma(heads + 2) * weights.largest.mean(axis=1, keepdims=True),
    )


def in_units(bounded: Bounded) -> float:
    """The largest error in unit round-offs, rounded up to three digits."""
    largest = float(bounded.error.max(initial=0.0)) / UNIT
    if largest == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(largest)) - 2)
    # Rounded once more, so that the file says 12.3 and not 12.300000000000001.
    return float(f"{math.ceil(largest / step) * step:.3g}")
