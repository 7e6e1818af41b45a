"""Power of paired comparisons against enumeration, and sample sizes that reach it."""

from __future__ import annotations

from math import comb

import pytest
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.paired.mcnemar import (
    mcnemar_p,
    non_inferiority,
)
from spinefx.statistics.paired.sample_size import (
    discordant_shares,
    mcnemar_power,
    mcnemar_sample_size,
    non_inferiority_power,
    non_inferiority_sample_size,
)
from spinefx.statistics.paired.table import PairedTable


def test_power_and_sample_size_of_the_paper() -> None:
    shares = discordant_shares(0.78, 0.94)
    assert mcnemar_power(*shares, 50) == pytest.approx(0.54, abs=0.005)
    assert mcnemar_power(*shares, 50, method="midp") == pytest.approx(0.63, abs=0.005)
    assert mcnemar_power(*shares, 80) == pytest.approx(0.80, abs=0.005)
    assert mcnemar_sample_size(*shares) == 81


def test_power_agrees_with_enumeration_and_sample_sizes_have_no_gaps() -> None:
    p1, p2, n = 0.35, 0.1, 15
    wanted = 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            probability = comb(n, b) * comb(n - b, c) * p1**b * p2**c * (1 - p1 - p2) ** (n - b - c)
            wanted += probability * (mcnemar_p(b, c) <= 0.05)
    assert mcnemar_power(p1, p2, n) == pytest.approx(wanted, abs=1e-8)
    size = mcnemar_sample_size(p1, p2)
    assert all(mcnemar_power(p1, p2, more) >= 0.8 for more in range(size, size + 10))
    assert mcnemar_power(p1, p2, size - 1) < 0.8
    # The power of an exact test is a sawtooth: 786 cases reach it, but a larger number soon after does not.
    assert mcnemar_power(0.55, 0.45, 786) >= 0.8
    assert mcnemar_sample_size(0.55, 0.45) == 820
    assert discordant_shares(0.78, 0.94, 1.0) == pytest.approx((0.0, 0.16))
    for refused in (lambda: mcnemar_sample_size(0.1, 0.1), lambda: mcnemar_power(0.6, 0.6, 5)):
        with pytest.raises(InputError):
            refused()


def test_power_of_non_inferiority_agrees_with_enumeration() -> None:
    n, margin, (first, second) = 14, 0.3, discordant_shares(0.85, 0.9, 0.3)
    power = 0.0
    for b in range(n + 1):
        for c in range(n + 1 - b):
            if non_inferiority(PairedTable(n - b - c, b, c, 0), margin).p <= 0.025:
                power += stats.multinomial.pmf((b, c, n - b - c), n, (first, second, 1 - first - second))
    assert non_inferiority_power(first, second, n, margin=margin) == pytest.approx(power, abs=1e-7)


def test_sample_size_of_non_inferiority_is_the_smallest() -> None:
    shares = discordant_shares(0.9, 0.9)
    n = non_inferiority_sample_size(*shares, margin=0.1)
    assert non_inferiority_power(*shares, n, margin=0.1) >= 0.8 > non_inferiority_power(*shares, n - 1, margin=0.1)
    # By the normal approximation (Liu JP et al. Stat Med 2002;21:231-245): (1.96 + 0.84)^2 x 0.18 / 0.1^2 = 141.
    assert 135 < n < 160
    with pytest.raises(InputError, match="a difference above minus the margin"):
        non_inferiority_sample_size(*discordant_shares(0.8, 0.9), margin=0.1)
