"""How many labels sets of classes hold, month after month, and how large they are: a table of
docs/performance.md.

    python -m benchmarks.contest.class_sets

Flights are early, on time or late. Each month from May on is answered by a model of the months
before it, and sets are calibrated on the two months before. *Adaptive* sets (Romano, Sesia & Candès
2020) take the likeliest classes until their probabilities add up to enough, without a random
number."""

from collections.abc import Callable

import numpy as np
import polars as pl

from benchmarks.contest.class_estimates import CLASSES, boosting, punctuality
from tasks.measures.conformal import least_chance
from tasks.models import modelling

SEED, COVERAGE, OLDEST, WINDOWS = 0, 0.9, 4, 2
Sets = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def least_ambiguous(truth: np.ndarray, seen: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """The service's: ``(n_rows, n_classes)`` of truth values for ``chances``, calibrated on the
    ``truth`` of ``seen``."""
    return chances >= least_chance(truth, seen, COVERAGE)


def adaptive(truth: np.ndarray, seen: np.ndarray, chances: np.ndarray) -> np.ndarray:
    scores = until(seen)[np.arange(len(truth)), truth]
    place = int(np.ceil((len(scores) + 1) * COVERAGE)) - 1
    return until(chances) <= np.sort(scores)[place]


def until(chances: np.ndarray) -> np.ndarray:
    """The sum of the probabilities down to each class, the likeliest first."""
    order = np.argsort(-chances, axis=1, kind="stable")
    sums = np.empty_like(chances)
    np.put_along_axis(sums, order, np.take_along_axis(chances, order, 1).cumsum(axis=1), 1)
    return sums


def main() -> None:
    case, months = punctuality()
    names = sorted(months)
    encoder = modelling.encoder(case).fit(modelling.inputs(case, pl.concat(months.values())))
    matrix = {
        name: np.asarray(encoder.transform(modelling.inputs(case, rows)), dtype=np.float64)
        for name, rows in months.items()
    }
    truth = {name: modelling.labels(case, rows) for name, rows in months.items()}
    chances = {}
    for place in range(OLDEST - WINDOWS, len(names)):
        learned = names[:place]
        model = boosting({}, None, SEED).fit(
            np.vstack([matrix[name] for name in learned]),
            np.concatenate([truth[name] for name in learned]),
        )
        chances[names[place]] = model.predict_proba(matrix[names[place]])
    print(f"| sets | held | mean | mean size | {' | '.join(CLASSES)} |\n{'|---' * 7}|")
    methods: dict[str, Sets] = {"least ambiguous": least_ambiguous, "adaptive": adaptive}
    for method, sets in methods.items():
        held, sizes, of_class = [], [], []
        for place in range(OLDEST, len(names)):
            before, name = names[place - WINDOWS : place], names[place]
            members = sets(
                np.concatenate([truth[each] for each in before]),
                np.vstack([chances[each] for each in before]),
                chances[name],
            )
            rows = np.arange(len(members))
            members[rows, chances[name].argmax(axis=1)] = True
            inside = members[rows, truth[name]]
            held.append(inside.mean())
            sizes.append(members.sum(axis=1).mean())
            of_class.append([inside[truth[name] == k].mean() for k in range(len(CLASSES))])
        classes = " | ".join(f"{share:.2f}" for share in np.mean(of_class, axis=0))
        print(
            f"| {method} | {min(held):.3f} to {max(held):.3f} | {np.mean(held):.3f} "
            f"| {np.mean(sizes):.2f} | {classes} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
