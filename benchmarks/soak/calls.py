"""What is measured without a flow run around it."""

import time

from usecases.definition import load

TIMES = 20


def governor() -> dict[str, float]:
    """CPU seconds and seconds in which the governor decides once, as an automatic retrain asks
    it."""
    from datetime import UTC, datetime

    from blocks.lake import Lake
    from blocks.settings import Settings
    from tasks.ledger import governor
    from tasks.outside.blocks_of_run import given
    from tasks.steps import retrain

    policy = load("orders").retrain
    with given(Lake.of(Settings.read())):
        read = retrain._read_for_governor
        read("orders", policy)
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(TIMES):
            entries = read("orders", policy)
            governor.may_retrain(policy, entries, datetime.now(UTC))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu": cpu / TIMES, "wall": wall / TIMES, "entries": len(entries)}
