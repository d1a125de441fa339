"""Whether the drift check can be trusted: false alarms, the months that came, planted shifts of
stated size, and what a large window costs.

    python -m benchmarks.drift                          all of it
    python -m benchmarks.drift false-alarms planted     parts of it
    python -m benchmarks.drift --quick                  few windows, to see that it runs
    python -m benchmarks.drift cost --rows 10000000 --json drift.json
    python -m benchmarks.drift --peers                  only the table beside Evidently and NannyML

Exits with 1 where more than 5 % of the windows drawn from the reference's own rows, or from whole
days of it, are called drifted or broken."""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.drift import studies as studies
from benchmarks.drift.beside_peers import beside_peers
from benchmarks.drift.cost import cost
from benchmarks.drift.faults import planted_faults
from benchmarks.drift.planted import planted
from benchmarks.drift.power import WINDOWS, power
from benchmarks.drift.sequence import delays, run_lengths
from benchmarks.drift.shuffles import shuffles
from benchmarks.drift.streams import streams
from benchmarks.drift.world import make_champion, months_after

LIMIT = 0.05
PARTS = (
    *("false-alarms", "months", "shuffles", "sequence", "faults", "power", "streams"),
    *("planted", "cost"),
)


def main() -> None:
    """Run the parts that are named, or all; print tables, and write JSON where asked."""
    arguments = _arguments()
    parts = arguments.parts or ([] if arguments.peers else list(PARTS))
    findings: dict[str, list[dict[str, Any]]] = {}
    champions = []
    alone = parts == ["streams"] and not arguments.peers  # they have champions of their own
    for through in [] if alone else arguments.through:
        start = time.perf_counter()
        champions.append(make_champion(arguments.use_case, through, arguments.seed))
        print(
            f"champion through {through}: {len(champions[-1].training):,} rows, "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )
    if "false-alarms" in parts:
        rows: Iterator[dict[str, Any]] = (
            row
            for champion in champions
            for row in studies.false_alarms(champion, arguments.windows, arguments.seed)
        )
        findings["false-alarms"] = show(
            "False alarms: windows of the champion's own training rows", rows
        )
    if "months" in parts:
        ahead = {
            champion.through: months_after(arguments.use_case, champion.through)
            for champion in champions
        }
        rows = (
            row
            for champion in champions
            for row in studies.months(champion, ahead[champion.through])
        )
        findings["months"] = show("The months after the training", rows)
        first = {
            row["champion"]: row["window"]
            for row in reversed(findings["months"])
            if row["verdict"] == "drifted"
        }
        rows = (
            row
            for champion in champions
            if champion.through in first
            for row in studies.delay(champion, first[champion.through])
        )
        findings["delay"] = show("The first drifted month, day by day", rows)
    if "shuffles" in parts:
        rows = (
            row
            for blocks in arguments.blocks
            for row in shuffles(champions[-1], arguments.shuffles, blocks, arguments.seed)
        )
        findings["shuffles"] = show("Days of the year in another order", rows)
    if "sequence" in parts:
        rows = run_lengths(champions[-1], arguments.shuffles, arguments.seed)
        findings["run lengths"] = show("Days until the note of a sound stream rings", rows)
        rows = delays(champions[-1], arguments.seed)
        findings["delays"] = show("Days from a fault to the note", rows)
    if "faults" in parts:
        rows = planted_faults(champions[-1], arguments.seed)
        findings["faults"] = show("Faults in a sound month", rows)
    if "power" in parts:
        rows = power(champions[-1], arguments.seed)
        findings["power"] = show(
            f"The smallest change that is found in 90 % of {WINDOWS} windows", rows
        )
    if "streams" in parts:
        findings["streams"] = show("Generated streams", streams(arguments.worlds, arguments.seed))
    if "planted" in parts:
        windows = max(3, arguments.windows // 10)
        rows = planted(champions[0], windows, (1000, 5000, 20_000), (28,), arguments.seed)
        findings["planted"] = show(
            f"Planted shifts, {windows} windows each, champion through {champions[0].through}", rows
        )
    if arguments.peers:
        champion = champions[-1]
        later = months_after(arguments.use_case, champion.through)
        findings["peers"] = show(
            f"Who alarms, champion through {champion.through}",
            beside_peers(champion, later, max(3, arguments.windows // 10), arguments.seed),
        )
    if "cost" in parts:
        findings["cost"] = show(
            "Cost of a large window", [cost(champions[0], arguments.rows, arguments.seed)]
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(findings, indent=1))
    sys.exit(1 if too_many(findings.get("false-alarms", [])) else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; default: all"
    )
    parser.add_argument("--use-case", default="flights")
    parser.add_argument(
        "--through",
        nargs="+",
        default=["2013-03", "2013-06"],
        help="last months of the champions' training",
    )
    parser.add_argument(
        "--windows",
        type=int,
        default=200,
        help="windows for each kind of false alarm; a tenth for each planted shift",
    )
    parser.add_argument("--shuffles", type=int, default=20, help="of the year's days")
    parser.add_argument(
        "--blocks", type=int, nargs="+", default=[6], help="reference months of a shuffle"
    )
    parser.add_argument("--worlds", type=int, default=10, help="of each generated stream")
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the large window")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peers", action="store_true", help="installs NannyML apart, once")
    parser.add_argument(
        "--quick", action="store_true", help="10 windows, one champion, 200,000 rows"
    )
    arguments = parser.parse_args()
    if strangers := sorted(set(arguments.parts) - set(PARTS)):
        parser.error(f"unknown parts {strangers}; known: {', '.join(PARTS)}")
    if arguments.quick:
        arguments.windows, arguments.shuffles, arguments.worlds = 10, 2, 1
        arguments.through, arguments.rows = arguments.through[:1], min(arguments.rows, 200_000)
    return arguments


def too_many(alarms: list[dict[str, Any]]) -> bool:
    """Whether any kind of window, but for days in a row (a season is a change), is above the
    limit.
    """
    return any(
        row["drifted"] + row["broken"] >= LIMIT for row in alarms if row["drawn"] != "stretch"
    )


def show(title: str, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print as a Markdown table, each row when it is known. Returns the rows."""
    print(f"\n{title}\n")
    past: list[dict[str, Any]] = []
    for row in rows:
        if not past:
            print(f"| {' | '.join(row)} |\n|{'---|' * len(row)}")
        print(f"| {' | '.join(_cell(name, value) for name, value in row.items())} |", flush=True)
        past.append(row)
    return past


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return ("yes" if name == "retrain" else "drifted") if value else "no"
    if isinstance(value, float) and name.startswith("R²"):
        return f"{value:.2f}"
    if isinstance(value, float):
        return f"{value:.1f}" if name.endswith("seconds") else f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else str(value)
