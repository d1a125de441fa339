"""A change of champion under load: does a request fail, how long do others wait, and when does the
new version answer first?

Each request's own time is needed, so the generator in Python asks (``serving_client.py``), whatever
measured the rest."""

import json
import secrets
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from benchmarks.serving import load as serving_load
from benchmarks.serving.client import Answer
from benchmarks.serving.model import FLIGHTS, REPOSITORY
from benchmarks.serving.process import BenchmarkFailed
from benchmarks.serving.registry import RegistryProcess
from benchmarks.serving.servers import Server
from benchmarks.serving.visit import LoadPlan, running

CONNECTIONS = 32
BEFORE_SECONDS, AFTER_SECONDS = 6.0, 8.0
WARM_UP_SECONDS = 1.0
SWAPS = ("2", "1", "2")


def swap(
    server: Server, load_plan: LoadPlan, registry: RegistryProcess, *, webhook: bool
) -> dict[str, Any]:
    """Three changes of champion: what is told of them together, and each. Raises
    ``BenchmarkFailed``.

    With ``webhook`` MLflow calls the service when the alias moves; without, the service learns of
    it at its next look (2 s)."""
    if webhook:
        server = with_webhook(server, registry)
    try:
        with running(server, load_plan):
            swaps = [_one(server, load_plan, registry, version) for version in SWAPS]
    finally:
        registry.crown(FLIGHTS, "1")
        registry.forget_webhooks()
    told_by = "webhook" if webhook else "poll"
    return {
        "server": server.name,
        "told_by": told_by,
        "connections": CONNECTIONS,
        "generator": "python",
        **summary(swaps),
        "swaps": swaps,
    }


def with_webhook(server: Server, registry: RegistryProcess) -> Server:
    """The server with a secret of its own, and MLflow told to call it, as ``python -m
    deployments.apply`` does.
    """
    from blocks.settings import Settings
    from deployments.apply.webhook import apply_webhook

    secret = secrets.token_hex(32)
    apply_webhook(
        Settings(
            mlflow_url=registry.url,
            serving_url=server.url,
            serving_webhook_secret=SecretStr(secret),
        )
    )
    return replace(
        server, environment=server.environment | {"LAUREL_SERVING_WEBHOOK_SECRET": secret}
    )


def summary(swaps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Requests in all, medians of the percentiles, the worst of the rest."""
    figures = {name: sum(figure[name] for figure in swaps) for name in ("requests", "failed")}
    figures |= {
        name: statistics.median(figure[name] for figure in swaps)
        for name in ("p99_before_ms", "p99_swap_ms", "p99_ratio")
    }
    worst = ("longest_swap_ms", "alias_to_first_answer_s", "alias_to_last_old_answer_s")
    return figures | {name: max(figure[name] for figure in swaps) for name in worst}


def _one(
    server: Server, load_plan: LoadPlan, registry: RegistryProcess, version: str
) -> dict[str, Any]:
    file = serving_load.write_bodies(
        load_plan.folder / "swap.bodies", server, list(load_plan.rows), 1
    )
    timeline = load_plan.folder / "timeline.json"
    seconds = WARM_UP_SECONDS + BEFORE_SECONDS + AFTER_SECONDS
    command = serving_load.command("python", server, server.path(1), file, CONNECTIONS, seconds)
    with subprocess.Popen(
        [*command, "--timeline", str(timeline)], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    ) as load:
        time.sleep(WARM_UP_SECONDS + BEFORE_SECONDS)
        crowned = registry.crown(FLIGHTS, version)
        _, output = load.communicate()
    if load.returncode:
        raise BenchmarkFailed(f"The generator failed on {server.name}: {output.strip()}")
    broken = json.loads(output.strip().splitlines()[-1])["broken"]
    return judge(json.loads(timeline.read_text()), crowned, version, broken)


def judge(
    answers: Sequence[Answer], crowned: float, version: str, broken: int = 0
) -> dict[str, Any]:
    """Figures of one change. ``answers`` are (end, seconds, status, version), ``crowned`` the
    moment the registry had taken the alias.

    ``p99_before_ms`` is over all answers from the end of the warm-up to that moment,
    ``p99_swap_ms`` over the second around the first answer of the new version. Raises
    ``BenchmarkFailed`` where it never answered."""
    started = min(answer[0] for answer in answers)
    first = min(
        (answer[0] for answer in answers if answer[3] == version and answer[0] > crowned),
        default=None,
    )
    if first is None:
        raise BenchmarkFailed(
            f"Version {version} did not answer within {AFTER_SECONDS:g} s after it got the alias."
        )
    last_old = max(answer[0] for answer in answers if answer[3] != version)
    before = [answer[1] for answer in answers if started + WARM_UP_SECONDS < answer[0] < crowned]
    during = [answer[1] for answer in answers if abs(answer[0] - first) <= 0.5]
    return {
        "requests": len(answers),
        "failed": broken + sum(not 200 <= answer[2] < 300 for answer in answers),
        "p99_before_ms": _p99_ms(before),
        "p99_swap_ms": _p99_ms(during),
        "p99_ratio": round(_p99_ms(during) / _p99_ms(before), 3),
        "longest_swap_ms": round(1000 * max(during), 3),
        "alias_to_first_answer_s": round(first - crowned, 3),
        "alias_to_last_old_answer_s": round(max(0.0, last_old - crowned), 3),
    }


def _p99_ms(seconds: Sequence[float]) -> float:
    ordered = sorted(seconds)
    return round(1000 * ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 3)
