"""Durations from two percentiles, and back, as if they were lognormal: most measured ones nearly are."""

from dataclasses import dataclass
from math import exp, inf, log, log1p, sqrt

Z95 = 1.6448536269514722
"""The 95th percentile of the normal distribution."""
MOST_SPREAD = 1e6
"""Of a 95th percentile over the median: beyond it nothing is a lognormal, and its mean soon no number."""
MOST_SCV = 1e6


@dataclass(frozen=True, slots=True)
class Durations:
    """Mean, median and 95th percentile in seconds; `scv` is variance over the squared mean."""

    mean: float
    scv: float
    p50: float
    p95: float


def from_percentiles(p50: float, p95: float) -> Durations:
    """Raises ValueError unless 0 < p50 <= p95 <= MOST_SPREAD times that."""
    if not 0 < p50 <= p95 <= p50 * MOST_SPREAD:
        raise ValueError(
            f"percentiles need 0 < p50 <= p95, which is at most {MOST_SPREAD:,.0f} times as long: {p50}, {p95}"
        )
    sigma = log(p95 / p50) / Z95
    return Durations(mean=p50 * exp(sigma**2 / 2), scv=exp(sigma**2) - 1, p50=p50, p95=p95)


def from_mean(mean: float, scv: float) -> Durations:
    """Raises ValueError unless mean > 0 and 0 <= scv <= MOST_SCV."""
    if mean <= 0 or not 0 <= scv <= MOST_SCV:
        raise ValueError(f"a mean is > 0, a variation 0 to {MOST_SCV:,.0f}: {mean}, {scv}")
    sigma = sqrt(log1p(scv))
    p50 = mean / exp(sigma**2 / 2)
    return Durations(mean=mean, scv=scv, p50=p50, p95=p50 * exp(Z95 * sigma))


def with_slower_tail(durations: Durations, factor: float) -> Durations:
    """The same median, and a 95th percentile of `factor` times what it was.

    Mean and variation change as those of a lognormal do, in proportion: measured ones stay what they are
    when the factor is 1. Where more than half of them took no time that a clock sees, all take `factor` times
    as long.
    """
    spread = durations.p95 / durations.p50 if durations.p50 > 0 else inf
    if spread * factor > MOST_SPREAD:
        return Durations(
            durations.mean * factor, durations.scv, durations.p50, durations.p95 * factor
        )
    before = from_percentiles(durations.p50, durations.p95)
    after = from_percentiles(durations.p50, durations.p95 * factor)
    second_moment = (1 + durations.scv) * (1 + after.scv) / (1 + before.scv)
    return Durations(
        mean=durations.mean * after.mean / before.mean,
        scv=second_moment - 1,
        p50=durations.p50,
        p95=after.p95,
    )
