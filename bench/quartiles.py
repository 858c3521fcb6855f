"""Medians, quartiles, and how sure a median is."""

import math
import statistics


def summary(samples):
    """Median, quartiles and number of samples."""
    samples = sorted(samples)
    if len(samples) == 1:
        low = high = samples[0]
    else:
        low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return {
        "value": statistics.median(samples),
        "q1": low,
        "q3": high,
        "samples": len(samples),
    }


def median_interval(samples, certainty=0.95):
    """Two samples between which the true median lies with that certainty at
    least, whatever the distribution. The number of samples below the median is
    binomial with p = 1/2, so the k-th smallest is above it with the probability
    of fewer than k (the sign test; Conover 1999, Practical Nonparametric
    Statistics, 3.2). Of few samples it is all there is of them."""
    ordered = sorted(samples)
    count, outside, k = len(ordered), 0.0, 0
    while k < (count - 1) // 2:
        outside += math.comb(count, k) / 2 ** count
        if outside > (1 - certainty) / 2:
            break
        k += 1
    return ordered[max(k - 1, 0)], ordered[count - max(k, 1)]


def percentile(samples, percent):
    """The smallest sample that at least `percent` of them do not exceed."""
    ordered = sorted(samples)
    at = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(int(at), 1) - 1]
