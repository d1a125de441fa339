"""How the figures are told on a terminal, in tables that can be pasted into a page."""

from collections.abc import Sequence
from typing import Any

from benchmarks.serving.figures import FLOOR, LIBRARIES, Result, ratios


def table(results: Sequence[Result]) -> str:
    """Markdown, a block a case, servers in the order of their answers a second."""
    blocks = []
    for case in sorted({(result["rows"], result["connections"]) for result in results}):
        here = [result for result in results if (result["rows"], result["connections"]) == case]
        near = {
            result["server"]: result
            for result in ratios(results)
            if (result["rows"], result["connections"]) == case
        }
        lines = [
            f"{case[0]} row{'s' * (case[0] > 1)}, {case[1]} connection{'s' * (case[1] > 1)}",
            "",
            HEADER,
            RULE,
        ]
        lines += [
            _line(result, near[result["server"]])
            for result in sorted(here, key=lambda entry: -entry["rps"])
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


HEADER = (
    "| server | requests/s | to mlflow | to the floor | p50 ms | p99 ms | CPU µs | RSS "
    "MB | PSS "
    "MB | cold s |"
)
RULE = "|---|---|---|---|---|---|---|---|---|---|"


def _line(result: Result, near: dict[str, Any]) -> str:
    to_peer = "–" if near["rps_to_mlflow"] is None else f"{near['rps_to_mlflow']:.3g}×"
    to_floor = "–" if near["rps_to_floor"] is None else f"{near['rps_to_floor']:.2g}"
    pss = "–" if result["pss_mb"] is None else f"{result['pss_mb']:.0f}"
    cells = [
        result["server"],
        f"{result['rps']:,.0f}",
        to_peer,
        to_floor,
        f"{result['p50_ms']:.3g}",
        f"{result['p99_ms']:.3g}",
    ]
    cells += [f"{result['cpu_us']:,.0f}", f"{result['rss_mb']:.0f}", pss, f"{result['cold_s']:.2f}"]
    return f"| {' | '.join(cells)} |"


def overview(results: Sequence[Result]) -> str:
    """Markdown, a line a server: requests a second at 1 / 32 connections, and latency of one row at
    the same.
    """
    by_case = {
        (result["server"], result["rows"], result["connections"]): result for result in results
    }
    lines = [
        (
            "| requests/s at 1 / 32 connections | 1 row | p50 ms | p99 ms | 100 rows | 1000 rows "
            "| RSS MB | PSS MB | cold s |"
        )
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|")

    def pair(server: str, rows: int, name: str) -> str:
        values = [by_case.get((server, rows, connections), {}).get(name) for connections in (1, 32)]
        return " / ".join(
            "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            for value in values
        )

    for server in dict.fromkeys(
        result["server"] for result in sorted(results, key=lambda entry: entry["rps"])
    ):
        heaviest = max(
            (result for result in results if result["server"] == server),
            key=lambda entry: entry["rss_mb"],
        )
        pss = "–" if heaviest["pss_mb"] is None else f"{heaviest['pss_mb']:.0f}"
        cells = [
            pair(server, 1, "rps"),
            pair(server, 1, "p50_ms"),
            pair(server, 1, "p99_ms"),
            pair(server, 100, "rps"),
            pair(server, 1000, "rps"),
        ]
        lines.append(
            f"| {server} | {' | '.join(cells)} | {heaviest['rss_mb']:.0f} | {pss} | "
            f"{heaviest['cold_s']:.2f} |"
        )
    return "\n".join(lines)


def report(document: dict[str, Any]) -> str:
    """All of it for the terminal."""
    here = document["machine"]
    lines = [
        (
            f"{here['cores']} cores ({here['cpu']}), load average before "
            f"{here['load_average'][0]}, Python {here['python']}, {here['when']}"
        ),
        ", ".join(f"{name} {here[name]}" for name in LIBRARIES),
        (
            f"Load: {document['generator']} on the same cores, {document['seconds']:g} s a case; "
            f"medians of {document['rounds']} rounds. "
            "RSS is the sum over the process tree, PSS shares out what its processes have in "
            "common."
        ),
        "",
        table(document["results"]),
        "",
        overview(document["results"]),
        "",
    ]
    lines += [f"Skipped {result['server']}: {result['why']}" for result in document["skipped"]]
    lines += [f"FAILED {result['server']}: {result['why']}" for result in document["failed"]]
    for name, logs in document["prediction_log"].items():
        dropped, logged = (
            sum(result["rows_dropped"] for result in logs),
            sum(result["rows_uploaded"] + result["rows_waiting"] for result in logs),
        )
        lines.append(f"Prediction log of {name}: {logged:,} rows kept, {dropped:,} dropped.")
    if remark := _floor_remark(document["results"]):
        lines.append(remark)
    lines += [_swap_line(document[name]) for name in document if name.startswith("swap")]
    return "\n".join(lines)


def _swap_line(swap: dict[str, Any]) -> str:
    return (
        f"Swap under load ({swap['server']}, told by {swap['told_by']}, "
        f"{swap['connections']} connections, generator {swap['generator']}, "
        f"{len(swap['swaps'])} times): {swap['failed']} of {swap['requests']:,} requests "
        f"failed; p99 {swap['p99_before_ms']:g} ms before, "
        f"{swap['p99_swap_ms']:g} ms in the second of the swap ({swap['p99_ratio']:g}×); "
        f"at most {swap['alias_to_first_answer_s']:g} s from the alias to the first answer "
        "of the new version."
    )


def _floor_remark(results: Sequence[Result]) -> str:
    """The floor is one only while it answers as many bytes as Laurel does."""
    sizes = {(result["server"], result["rows"]): result["answer_bytes"] for result in results}
    for (server, rows), size in sizes.items():
        floor = sizes.get((FLOOR, rows), size)
        if server == "laurel" and not 0.9 < floor / size < 1.1:
            return (
                f"The floor answers {floor} bytes for {rows} rows and Laurel {size}: bring "
                "peers/floor.py up to date."
            )
    return ""
