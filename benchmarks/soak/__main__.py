"""Play a year of a use case on a stack of its own, and measure what it takes after the first month
and after the last.

    python -m benchmarks.soak [--lake seaweedfs] [--quick] [--days 31] [--folder FOLDER]

Real: the servers, flows and service, number and size of the files of a measured day (17,280, a
million rows), a drift check, ``tidy`` and late labels each day, a retrain each month. Thinned: all
other days have 288 files of that size, a file's rows come again in others of its hour, and ingest
and rollout do not run daily. With fewer ``--days`` the records of the others are copies of a played
one's: verdict, entry of the ledger, compacted files, runs of MLflow and Prefect, but no logs of
runs. The exit code is 1 if something grows that should not."""

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.soak.measure import measure
from benchmarks.soak.plan import Plan
from benchmarks.soak.report import Figure, grown_of, problems, sizes_table, table
from benchmarks.soak.stack import running
from benchmarks.soak.year import MONTH, YEAR, keep, kept, play
from deployments.local.command import raise_on_interrupts

QUICK = {"months": 6, "days": 3, "thin": 48, "full": 480}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--lake", choices=("folder", "seaweedfs"), default="folder")
    parser.add_argument("--quick", action="store_true", help="six months of three days each")
    parser.add_argument("--days", type=int, default=31, help="of each month are played, 3 or more")
    parser.add_argument("--rounds", type=int, default=5, help="of measuring both in turns")
    parser.add_argument("--port", type=int, default=21_400, help="the first of two dozen")
    parser.add_argument("--folder", type=Path, help="kept; by default one that is removed")
    parser.add_argument("--again", action="store_true", help="measure a kept folder once more")
    arguments = parser.parse_args()
    raise_on_interrupts()
    yesterday = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).date()
    plan = Plan(yesterday, **(QUICK if arguments.quick else {"days": arguments.days}))
    with ExitStack() as stacks:
        folder = arguments.folder or Path(stacks.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        folder, start = folder.resolve(), time.perf_counter()

        def say(text: str) -> None:
            print(f"[{time.perf_counter() - start:5.0f} s] {text}", flush=True)

        if not arguments.again:
            keep(play(plan, folder, arguments.lake, arguments.port, say), folder)
        found = judge(plan, folder, arguments.lake, arguments.port, arguments.rounds)
        say(
            f"{len(found)} things grow that should not"
            if found
            else "nothing grows that should not"
        )
    sys.exit(bool(found))


def judge(plan: Plan, folder: Path, lake: str, port: int, rounds: int) -> list[str]:
    """Measure and print. Returns what grows and should not."""
    months = kept(folder)
    last_days = (plan.of_month(1)[-1], plan.of_month(plan.months)[-1])
    with (
        running(folder / MONTH, lake, port) as first,
        running(folder / YEAR, lake, port + 30) as last,
    ):
        figures, once = measure((first, last), last_days, rounds)
    figures += [
        Figure(f"{name} as it was played, CPU s", [months[1].cpu[name]], [months[-1].cpu[name]])
        for name in months[-1].cpu
    ]
    figures += [
        Figure(f"{name}, MB", [sides[0] / 1e6], [sides[1] / 1e6]) for name, sides in once.items()
    ]
    grown, settled = grown_of([month.sizes for month in months]), plan.months // 2
    print("\n".join([*table(figures, plan.months), "", *sizes_table(grown, settled)]))
    (folder / "figures.json").write_text(
        json.dumps([[asdict(figure) for figure in figures], [asdict(each) for each in grown]])
    )
    found = problems(figures, grown, settled)
    for problem in found:
        print(f"GROWS  {problem}")
    return found


if __name__ == "__main__":
    main()
