"""How the figures are told on a terminal, in tables that can be pasted into a page."""

from collections.abc import Sequence
from typing import Any

from benchmarks.serving.figures import FLOOR, LIBRARIES, Result, ratios


def table(results: Sequence[Result]) -> str:
    """Markdown, a block a case, servers in the order of their answers a second."""
    blocks = []
    for case in sorted({(one["rows"], one["connections"]) for one in results}):
        here = [one for one in results if (one["rows"], one["connections"]) == case]
        near = {
            one["server"]: one
            for one in ratios(results)
            if (one["rows"], one["connections"]) == case
        }
        lines = [
            f"{case[0]} row{'s' * (case[0] > 1)}, {case[1]} connection{'s' * (case[1] > 1)}",
            "",
            HEADER,
            RULE,
        ]
        lines += [
            _line(one, near[one["server"]]) for one in sorted(here, key=lambda one: -one["rps"])
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


HEADER = (
    "| server | requests/s | to mlflow | to the floor | p50 ms | p99 ms | CPU µs | RSS "
    "MB | PSS "
    "MB | cold s |"
)
RULE = "|---|---|---|---|---|---|---|---|---|---|"


def _line(one: Result, near: dict[str, Any]) -> str:
    to_peer = "–" if near["rps_to_mlflow"] is None else f"{near['rps_to_mlflow']:.3g}×"
    to_floor = "–" if near["rps_to_floor"] is None else f"{near['rps_to_floor']:.2g}"
    pss = "–" if one["pss_mb"] is None else f"{one['pss_mb']:.0f}"
    cells = [
        one["server"],
        f"{one['rps']:,.0f}",
        to_peer,
        to_floor,
        f"{one['p50_ms']:.3g}",
        f"{one['p99_ms']:.3g}",
    ]
    cells += [f"{one['cpu_us']:,.0f}", f"{one['rss_mb']:.0f}", pss, f"{one['cold_s']:.2f}"]
    return f"| {' | '.join(cells)} |"


def overview(results: Sequence[Result]) -> str:
    """Markdown, a line a server: requests a second at 1 / 32 connections, and latency of one row at
    the same.
    """
    found = {(one["server"], one["rows"], one["connections"]): one for one in results}
    lines = [
        (
            "| requests/s at 1 / 32 connections | 1 row | p50 ms | p99 ms | 100 rows | 1000 rows "
            "| RSS MB | PSS MB | cold s |"
        )
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|")

    def both(server: str, rows: int, name: str) -> str:
        values = [found.get((server, rows, connections), {}).get(name) for connections in (1, 32)]
        return " / ".join(
            "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            for value in values
        )

    for server in dict.fromkeys(
        one["server"] for one in sorted(results, key=lambda one: one["rps"])
    ):
        heaviest = max(
            (one for one in results if one["server"] == server), key=lambda one: one["rss_mb"]
        )
        pss = "–" if heaviest["pss_mb"] is None else f"{heaviest['pss_mb']:.0f}"
        cells = [
            both(server, 1, "rps"),
            both(server, 1, "p50_ms"),
            both(server, 1, "p99_ms"),
            both(server, 100, "rps"),
            both(server, 1000, "rps"),
        ]
        lines.append(
            f"| {server} | {' | '.join(cells)} | {heaviest['rss_mb']:.0f} | {pss} | "
            f"{heaviest['cold_s']:.2f} |"
        )
    return "\n".join(lines)


def report(told: dict[str, Any]) -> str:
    """All of it for the terminal."""
    here = told["machine"]
    lines = [
        (
            f"{here['cores']} cores ({here['cpu']}), load average before "
            f"{here['load_average'][0]}, Python {here['python']}, {here['when']}"
        ),
        ", ".join(f"{name} {here[name]}" for name in LIBRARIES),
        (
            f"Load: {told['generator']} on the same cores, {told['seconds']:g} s a case; medians "
            f"of {told['rounds']} rounds. "
            "RSS is the sum over the process tree, PSS shares out what its processes have in "
            "common."
        ),
        "",
        table(told["results"]),
        "",
        overview(told["results"]),
        "",
    ]
    lines += [f"Skipped {one['server']}: {one['why']}" for one in told["skipped"]]
    lines += [f"FAILED {one['server']}: {one['why']}" for one in told["failed"]]
    for name, logs in told["prediction_log"].items():
        dropped, kept = (
            sum(one["rows_dropped"] for one in logs),
            sum(one["rows_uploaded"] + one["rows_waiting"] for one in logs),
        )
        lines.append(f"Prediction log of {name}: {kept:,} rows kept, {dropped:,} dropped.")
    if remark := _floor_remark(told["results"]):
        lines.append(remark)
    lines += [_swap_line(told[name]) for name in told if name.startswith("swap")]
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
    sizes = {(one["server"], one["rows"]): one["answer_bytes"] for one in results}
    for (server, rows), size in sizes.items():
        floor = sizes.get((FLOOR, rows), size)
        if server == "laurel" and not 0.9 < floor / size < 1.1:
            return (
                f"The floor answers {floor} bytes for {rows} rows and Laurel {size}: bring "
                "peers/floor.py up to date."
            )
    return ""
