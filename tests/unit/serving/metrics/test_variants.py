"""A rollout's figures at /metrics: both sides, the shadow, and what runs now."""

from serving.metrics.counters import Metrics
from serving.metrics.variants import Variants
from serving.rollouts.guards import Guards


def text_of(variants: Variants, *others: Variants) -> str:
    """What Prometheus scrapes of a service whose other workers have these figures."""
    snapshots = []
    for each in others:
        worker = Metrics()
        worker.watch(each.families)
        snapshots.append(worker.snapshot())
    metrics = Metrics()
    metrics.watch(variants.families)
    return metrics.text(snapshots).decode()


def test_without_a_rollout_there_are_no_series() -> None:
    lines = text_of(Variants()).splitlines()
    assert not [line for line in lines if line.startswith(("laurel_rollout_", "laurel_shadow_"))]


def test_the_workers_counts_are_added_and_what_runs_is_one() -> None:
    one, two = Variants(), Variants()
    for variants in (one, two):
        variants.states["toy"] = ("2", "first", "canary", "running")
        stats = variants.answering["toy", "rollout", "2"]
        stats.requests, stats.fallbacks = 5, 1
        stats.scoring.observe(0.003)
        variants.shadows["toy", "3"].dropped += 7
    one.reverts["toy", "2"] += 1
    text = text_of(one, two)
    side = '{role="rollout",use_case="toy",version="2"}'
    assert f"laurel_rollout_requests_total{side} 10.0" in text
    assert f"laurel_rollout_fallbacks_total{side} 2.0" in text
    assert f"laurel_rollout_scoring_seconds_count{side} 2.0" in text
    assert 'laurel_shadow_dropped_total{use_case="toy",version="3"} 14.0' in text
    assert 'laurel_rollout_reverts_total{use_case="toy",version="2"} 1.0' in text
    labels = 'kind="canary",rollout="first",state="running",use_case="toy",version="2"'
    assert f"laurel_rollout_info{{{labels}}} 1.0" in text


def test_of_the_workers_guards_the_one_with_the_most_evidence_is_shown() -> None:
    one, two = Variants(), Variants()
    for variants, bad in ((one, 0), (two, 2)):
        guards = Guards()
        guards.failures.add(bad, 10)
        variants.guards["toy"] = ("2", guards.rates)
    text = text_of(one, two)
    labels = '{guard="failures",use_case="toy",version="2"}'
    assert f"laurel_rollout_guard_trials_total{labels} 20.0" in text
    assert f"laurel_rollout_guard_bad_total{labels} 2.0" in text
    assert (
        f"laurel_rollout_guard_evidence{labels} {two.guards['toy'][1]['failures'].evidence}" in text
    )
    assert 0 < two.guards["toy"][1]["failures"].evidence <= 1
