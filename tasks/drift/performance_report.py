"""How a champion's performance on a window is told: in a sentence, a table and the ledger."""

from serving.records.performance import Estimate, Interval, Performance

_TITLES = (
    "realised",
    "low",
    "high",
    "hold-out low",
    "hold-out high",
    "estimated",
    "estimate less realised",
)


def say_performance(performance: Performance) -> str:
    """In a sentence or two, for artifacts and messages."""
    came = f"Labels have arrived for {performance.coverage:.0%} of {performance.rows:,} predictions"
    return f"{performance.verdict.capitalize()}: {'; '.join(performance.reasons)}. {came}."


def performance_rows(performance: Performance) -> list[dict[str, str | float]]:
    """A row for each metric: realised with its interval, the champion's own hold-out, the estimate
    with its error.
    """
    rows: list[dict[str, str | float]] = []
    for name in dict.fromkeys([*performance.metrics, *performance.estimates]):
        now, then = (
            performance.metrics.get(name, Interval()),
            performance.holdout.get(name, Interval()),
        )
        guess = performance.estimates.get(name, Estimate())
        numbers = (now.value, now.low, now.high, then.low, then.high, guess.value, guess.error)
        values = ("not known" if number is None else round(number, 4) for number in numbers)
        rows.append({"metric": name, **dict(zip(_TITLES, values, strict=True))})
    return rows


def performance_facts(performance: Performance | None) -> dict[str, float | str | None]:
    """For the ledger."""
    if performance is None:
        return {}
    scores = {f"labelled {name}": value for name, value in performance.scores.items()}
    estimated = {f"estimated {name}": entry.value for name, entry in performance.estimates.items()}
    return {
        "performance": performance.verdict,
        "label coverage": performance.coverage,
        **scores,
        **estimated,
    }
