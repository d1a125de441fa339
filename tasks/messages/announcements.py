"""What people are told, and in which words: plain values or a record in, a message out. Nothing is
sent here.

Every headline begins with the use case and holds the outcome, and both scores if two were compared,
because a notification shows no more than that. ``links`` map a label to a URL (MLflow run, drift
report, ledger). Callers leave out ``say``: they get the English message, which holds its own
translations (``tasks/messages/wording.py``). The words are in ``tasks/messages/words_en.py`` and
``tasks/messages/words_ko.py``."""

from tasks.messages.approval import approval_answered, approval_asked
from tasks.messages.contest import contest_decided, first_champion
from tasks.messages.deployment import (
    adopted,
    alias_restored,
    crown_vacated,
    deployed,
    deployment_failed,
    rolled_back,
)
from tasks.messages.links import NO_LINKS, Links
from tasks.messages.rollout import rollout_told
from tasks.messages.training import (
    ingest_refused,
    retrain_ended,
    retrain_skipped,
    retrain_started,
    training_finished,
    training_started,
    tuning_finished,
)
from tasks.messages.watch import (
    breaker_closed,
    coverage_off,
    drift_checked,
    flow_failed,
    ledger_accepted,
    performance_worse,
    predictions_missing,
    run_cancelled,
    scores_checked,
    tidied,
)
from tasks.messages.wording import interval, metric_name, number

__all__ = [
    "NO_LINKS",
    "Links",
    "adopted",
    "alias_restored",
    "approval_answered",
    "approval_asked",
    "breaker_closed",
    "contest_decided",
    "coverage_off",
    "crown_vacated",
    "deployed",
    "deployment_failed",
    "drift_checked",
    "first_champion",
    "flow_failed",
    "ingest_refused",
    "interval",
    "ledger_accepted",
    "metric_name",
    "number",
    "performance_worse",
    "predictions_missing",
    "retrain_ended",
    "retrain_skipped",
    "retrain_started",
    "rolled_back",
    "rollout_told",
    "run_cancelled",
    "scores_checked",
    "tidied",
    "training_finished",
    "training_started",
    "tuning_finished",
]
