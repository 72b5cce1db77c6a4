"""Means and their 95 % intervals over few seeds."""

import math

# Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom.
T95 = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
       2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045]


def mean_and_interval(values):
    """(mean, half of the 95 % interval of the mean); the second is None for one value."""
    values = list(values)
    if not values:
        raise ValueError("no values")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    variance = math.fsum((v - mean)**2 for v in values) / (len(values) - 1)
    quantile = T95[len(values) - 2] if len(values) - 2 < len(T95) else 1.96
    return mean, quantile * math.sqrt(variance / len(values))


def shown(values, kind):
    """"84.1 ± 0.6 %" of shares, "28.5 ± 2.1" of numbers, "0.041 s" of seconds, "–" of nothing."""
    if not values:
        return "–"
    scale, digits, unit = {"share": (100, 1, " %"), "number": (1, 2, ""), "seconds": (1, 3, " s")}[kind]
    mean, half = mean_and_interval(values)
    if kind == "seconds" or half is None:
        return f"{scale * mean:.{digits}f}{unit}"
    return f"{scale * mean:.{digits}f} ± {scale * half:.{digits}f}{unit}"
