"""What a contest may still spend on days that were contested before.

A challenger that is tried again and again on one period wins by luck in the end. So a hold-out
has one allowance, ``1 - confidence``, and the j-th try on its days spends ``1 / (j (j + 1))`` of it
(the sum is one; alpha spending: Lan & DeMets 1983, Foster & Stine 2008). Tries are alike, since
champion, days and often the recipe are the same: each contest's record keeps its daily influences,
and a try is judged together with those before it. Days that no contest has seen start anew."""

from collections.abc import Sequence

import numpy as np

from serving.records.contest import Contest, Spending
from serving.records.ledger import Decision
from serving.records.reasons import Reason, because
from tasks.measures.bounds import correlation, critical_value, critical_value_of_last
from usecases.definition import Promotion, periods_of


def earlier_contests(
    entries: Sequence[Decision], holdout: str, run: str | None, challenger: str
) -> list[Contest]:
    """Return the ledger's contests that may have been on days of ``holdout``, without the one that
    ``run`` itself may have recorded about ``challenger``.

    A record from before the influences does not name its days: it counts if its hold-out has one of
    these periods."""
    periods = set(periods_of(holdout))
    return [
        entry.contest
        for entry in entries
        if entry.kind == "contest"
        and entry.contest is not None
        and (entry.contest.days or not periods.isdisjoint(periods_of(entry.holdout)))
        and not (run is not None and (entry.run, entry.challenger) == (run, challenger))
    ]


def spend(
    policy: Promotion,
    gains: np.ndarray,
    days: list[str],
    earlier: Sequence[Contest],
    seed: int,
) -> Spending:
    """Return what the next try spends, and what its gain has to exceed.

    ``gains`` ``(n_candidates, n_days)`` are the influences of the candidates that this try chooses
    from. An earlier contest counts if it could have crowned and shares a day with these; one
    without influences counts as independent."""
    tries = [contest for contest in earlier if _counts(contest, days)]
    known = [_on_days(contest, days) for contest in tries]
    sizes = [len(rows) for rows in known]
    same = correlation(np.vstack([*known, gains]))
    unknown = np.concatenate([np.repeat(not np.any(rows), len(rows)) for rows in [*known, gains]])
    same[unknown] = same[:, unknown] = 0.0
    np.fill_diagonal(same, 1.0)
    whole = 1 - policy.confidence
    levels = [whole / (number * (number + 1)) for number in range(1, len(tries) + 2)]
    own = correlation(gains)
    first = critical_value(own, len(days), 1 - levels[0], seed, policy.replicates)
    value = first
    if tries:
        value = critical_value_of_last(
            same, [*sizes, len(gains)], len(days), levels, seed, policy.replicates
        )
    return Spending(
        tries=len(tries) + 1,
        level=levels[-1],
        of=whole,
        standard_errors=value,
        first_standard_errors=first,
    )


def in_words(spending: Spending) -> Reason:
    """Return which try this was, what it cost, and that new days start anew."""
    spent, whole = 100 * spending.level, 100 * spending.of
    if spending.tries == 1:
        return because("first_try", spent=spent, whole=whole)
    return because(
        "later_try",
        number=spending.tries,
        spent=spent,
        whole=whole,
        errors=spending.standard_errors,
        first=spending.first_standard_errors,
    )


def _counts(contest: Contest, days: list[str]) -> bool:
    """An inconclusive contest could crown nobody, so it has spent nothing."""
    judged = contest.main.low is not None and contest.verdict in ("promote", "keep", "suspicious")
    return judged and (not contest.days or not set(contest.days).isdisjoint(days))


def _on_days(contest: Contest, days: list[str]) -> np.ndarray:
    """The influences of a contest ``(n_candidates, n_days)`` on ``days``; zero where it had other
    days, or kept none."""
    rows = np.zeros((max(len(contest.influences), 1), len(days)))
    place = {day: at for at, day in enumerate(days)}
    for row, influences in zip(rows, contest.influences, strict=False):
        for day, value in zip(contest.days, influences, strict=True):
            if day in place:
                row[place[day]] = value
    return rows
