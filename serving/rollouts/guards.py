"""Guards that revert a sick challenger, judged after each request and never by chance.

Each is an e-process: under the tolerated rate its evidence exceeds ``1 / ERROR`` in at most that
share of rollouts, however long they last (Ville's inequality). Only requests count that the
challenger failed and the champion answered: callers stay on one side, so that the two sides' own
rates differ without a cause, and an outage of both reverts nobody."""

import math
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass, field

ERROR = 1 / 4000  # of healthy rollouts that one guard reverts
TOLERATED_FAILURES = 0.001  # of the requests that the champion answers
SLOW = 2.0  # times the champion's median
TOLERATED_SLOW = 0.5  # of the challenger's answers: half are slower than its own median
_FAILING = (0.005, 0.02, 0.1, 0.5)
_SLOWED = (0.6, 0.75, 0.9, 0.99)
_TIMES = 101  # of the champion's latest answers
_FEW_TIMES = 20


@dataclass
class RateGuard:
    """Evidence that more than ``tolerated`` (0-1) of trials are bad: a mixture of likelihood ratios
    against ``rates``."""

    tolerated: float
    rates: tuple[float, ...]
    trials: int = 0
    bad: int = 0

    def add(self, bad: int, trials: int) -> None:
        self.bad += bad
        self.trials += trials

    @property
    def is_breached(self) -> bool:
        return self.log_evidence > -math.log(ERROR)

    @property
    def log_evidence(self) -> float:
        logs = [
            self.bad * math.log(rate / self.tolerated)
            + (self.trials - self.bad) * math.log((1 - rate) / (1 - self.tolerated))
            for rate in self.rates
        ]
        most = max(logs)
        return most + math.log(sum(math.exp(each - most) for each in logs) / len(logs))

    @property
    def evidence(self) -> float:
        """As a share of what breaches it (0-1)."""
        return min(1.0, max(0.0, self.log_evidence / -math.log(ERROR)))


def failure_guard() -> RateGuard:
    """Of requests that the champion answered: those that the challenger failed."""
    return RateGuard(TOLERATED_FAILURES, _FAILING)


@dataclass
class LatencyGuard:
    """Evidence that the challenger's scoring takes more than ``SLOW`` times the champion's median.

    Half of the answers of one that takes just so long are slower, so that half are tolerated. A
    median of long ago is no measure: it is not judged while the champion answers nobody."""

    rate: RateGuard = field(default_factory=lambda: RateGuard(TOLERATED_SLOW, _SLOWED))
    _latest: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMES))
    _sorted: list[float] = field(default_factory=list)
    _since: int = 0

    def add_champion(self, seconds: float) -> None:
        """Add the scoring time of a request that the champion answered."""
        if len(self._latest) == _TIMES:
            del self._sorted[bisect_left(self._sorted, self._latest[0])]
        self._latest.append(seconds)
        insort(self._sorted, seconds)
        self._since = 0

    def add_challenger(self, seconds: float) -> None:
        """Add the scoring time of a request that the challenger answered."""
        self._since += 1
        if len(self._sorted) >= _FEW_TIMES and self._since <= _TIMES:
            median = self._sorted[len(self._sorted) // 2]
            self.rate.add(int(seconds > SLOW * median), 1)

    @property
    def is_breached(self) -> bool:
        return self.rate.is_breached


class PaceGuard:
    """A ``LatencyGuard`` for batches of any size. Requests that arrive together are scored
    together, and the larger share has the larger batches: a time is compared with those of batches
    of up to twice as many rows, or half, and all of them are one evidence."""

    def __init__(self) -> None:
        self.rate = RateGuard(TOLERATED_SLOW, _SLOWED)
        self._guards: dict[int, LatencyGuard] = {}

    def add(self, rows: int, seconds: float, *, challenger: bool) -> None:
        """Add the scoring time of a batch."""
        guard = self._guards.get(rows.bit_length())
        if guard is None:
            guard = self._guards[rows.bit_length()] = LatencyGuard(self.rate)
        (guard.add_challenger if challenger else guard.add_champion)(seconds)

    @property
    def is_breached(self) -> bool:
        return self.rate.is_breached


@dataclass
class Guards:
    """What is known of a challenger in one process, from its first step to its last."""

    failures: RateGuard = field(default_factory=failure_guard)
    pace: PaceGuard = field(default_factory=PaceGuard)

    @property
    def rates(self) -> dict[str, RateGuard]:
        """What each of them counts, by its name."""
        return {"failures": self.failures, "latency": self.pace.rate}

    @property
    def breach(self) -> str:
        """Why the challenger must go; empty if it may stay."""
        if self.failures.is_breached:
            bad, trials = self.failures.bad, self.failures.trials
            return f"failed {bad:,} of {trials:,} requests that the champion answers"
        if self.pace.is_breached:
            slow, trials = self.pace.rate.bad, self.pace.rate.trials
            return (
                f"took more than {SLOW:g} times the champion's median time for {slow:,} of "
                f"{trials:,} batches"
            )
        return ""
