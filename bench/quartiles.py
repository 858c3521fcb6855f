"""Medians and quartiles."""

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


def percentile(samples, percent):
    """The smallest sample that at least `percent` of them do not exceed."""
    ordered = sorted(samples)
    at = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(int(at), 1) - 1]
