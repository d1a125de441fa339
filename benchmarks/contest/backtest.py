"""The backtest of a use case's own policy, straight from its source, without servers.

    python -m benchmarks.contest.backtest [--use-case flights] [--start 2013-03] [--share 0.3]
        [--seed 0] [--json F]

The flow ``backtest`` does the same on the dataset versions of a lake. ``--share`` tries another
limit of the drift policy."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tasks.backtest.fits import History
from tasks.backtest.replay import run, with_policy
from tasks.steps.backtest import in_words
from usecases.definition import Source, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the strategies side by side, and each period of the policy's."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.contest.backtest",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("--use-case", default="flights")
    parser.add_argument(
        "--start", default="2013-03", help="the period that the first champion wins on"
    )
    parser.add_argument("--share", type=float, help="another limit of the drift policy (0-1]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the whole record there")
    options = parser.parse_args(arguments)
    changed = {} if options.share is None else {"drift": {"share": options.share}}
    case, begun = with_policy(load(options.use_case), changed), time.monotonic()
    assert isinstance(case.source, Source), "only sources that need no warehouse"
    console = Console(highlight=False, soft_wrap=True)
    periods = {period: case.source.read(period) for period in case.source.periods()}
    replayed = run(
        case,
        History(case, periods, options.seed, lambda message: print(message, file=sys.stderr)),
        options.start,
        "-",
        changed,
    )
    console.print(in_words(replayed, case.gate.metric.name), markup=False)
    console.print(
        "\n| period | champion | score | drift | share | outcome | fit seconds |\n"
        "|---|---|---:|---|---:|---|---:|",
        markup=False,
    )
    for period in replayed.replays["policy"].periods:
        score, share = (
            "-" if value is None else f"{value:.4f}" for value in (period.score, period.share)
        )
        line = (
            f"| {period.period} | {period.champion} | {score} | {period.drift} | {share} | "
            f"{period.outcome} | {period.fit_seconds:.1f} |"
        )
        console.print(line, markup=False)
    if options.json:
        options.json.write_text(replayed.model_dump_json(indent=1))
    console.print(f"\n{time.monotonic() - begun:.0f} s in all.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
