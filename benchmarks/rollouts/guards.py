"""How soon guards revert a sick challenger, and how often a healthy one."""

from collections.abc import Iterator

import numpy as np

from serving.rollouts.guards import (
    ERROR,
    TOLERATED_FAILURES,
    LatencyGuard,
    failure_guard,
)
from tasks.rollouts.sides import Ratio

_SEED = 5
_REQUESTS = 20_000
_PROMISED = {0.01: 750, 0.05: 70, 0.2: 15, 1.0: 2}


def reverts(worlds: int) -> Iterator[str]:
    """Print the challenger's requests until it is reverted."""
    worlds = max(1, worlds // 4)
    chance = np.random.default_rng(_SEED)
    print(f"\nRequests of a challenger until it is reverted, in {worlds} worlds: p50 (p95)")
    healthy = sum(_until_failing(chance, 0.0) is not None for _ in range(worlds))
    print(f"  healthy, failing {100 * TOLERATED_FAILURES:g} %: {healthy} reverted")
    if healthy > 3 + 3 * ERROR * worlds:
        yield f"{healthy} of {worlds} healthy challengers were reverted."
    for extra, promised in _PROMISED.items():
        requests = [_until_failing(chance, extra) or _REQUESTS for _ in range(worlds)]
        middle, late = np.percentile(requests, [50, 95])
        print(f"  +{100 * extra:g} % fail: {middle:.0f} ({late:.0f})")
        if middle > promised:
            yield f"+{100 * extra:g} % fail: {middle:.0f} requests, promised {promised}."
    for times in (1.0, 1.5, 2.0, 3.0, 10.0):
        slow = [_until_slow(chance, times) for _ in range(max(1, worlds // 5))]
        known = [requests for requests in slow if requests]
        middle = f"{np.median(known):.0f}" if known else "-"
        print(f"  {times:g} times as slow: {len(known)} of {len(slow)} reverted, after {middle}")
        if times <= 1.5 and known:
            yield f"{len(known)} challengers {times:g} times as slow were reverted."


def ratios(worlds: int) -> Iterator[str]:
    """Print how often a healthy split is doubted, and when a loss of a fifth is seen."""
    worlds = max(1, worlds // 10)
    chance = np.random.default_rng(_SEED)
    print(f"\nSplits that are doubted, in {worlds} worlds of 50,000 callers")
    for share in (0.01, 0.05, 0.25, 0.5):
        false = sum(_until_doubted(chance, share, share) is not None for _ in range(worlds))
        lost = [_until_doubted(chance, share, 0.8 * share) for _ in range(worlds)]
        seen = [requests for requests in lost if requests]
        middle = f"{np.median(seen):.0f}" if seen else "-"
        print(f"  {100 * share:g} %: {false} healthy; a fifth lost is seen after {middle}")
        if false > 1 + worlds / 100:
            yield f"{false} of {worlds} healthy splits of {100 * share:g} % were doubted."


def _until_failing(chance: np.random.Generator, extra: float) -> int | None:
    guard = failure_guard()
    fails = chance.random(_REQUESTS) < min(1.0, TOLERATED_FAILURES + extra)
    for request, failed in enumerate(fails.tolist(), 1):
        guard.add(int(failed), 1)
        if guard.is_breached:
            return request
    return None


def _until_slow(chance: np.random.Generator, times: float) -> int | None:
    guard = LatencyGuard()
    for request, (champion, challenger) in enumerate(
        np.exp(chance.normal(0, 0.4, (5000, 2))).tolist(), 1
    ):
        guard.add_champion(champion)
        guard.add_challenger(times * challenger)
        if guard.is_breached:
            return request
    return None


def _until_doubted(chance: np.random.Generator, share: float, real: float) -> int | None:
    challenger = 0
    for step, more in enumerate(chance.binomial(100, real, 500).tolist(), 1):
        challenger += more
        if Ratio(share, 100 * step - challenger, challenger).is_off():
            return 100 * step
    return None
