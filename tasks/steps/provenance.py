"""Where a run in MLflow comes from: its data, its code, the flow run that made it, and the words on
its page."""

import hashlib
import subprocess
from collections.abc import Sequence
from typing import Literal

from prefect.runtime import flow_run

from blocks.run_datasets import RunDataset
from blocks.settings import Settings
from tasks.data.dataset import DatasetVersion, manifest_path
from tasks.outside.artifacts import NO_LINKS, Links, about
from tasks.outside.blocks_of_run import lake
from usecases.definition import UseCase, period_named

DECISION = "laurel.decision"  # a version's tag: the path of its contest in the ledger
_MOST_DIGESTS = 100


def run_tags(dataset: DatasetVersion, periods: Sequence[str], sample: str) -> dict[str, str]:
    """Return where a run's model comes from: data, code, and the flow run that made it. ``sample``
    says which of the rows it learned; empty: all."""
    digests = dataset.digests(periods)
    tags = {
        "laurel.dataset_version": dataset.version,
        "laurel.data_digest": _in_short([digest[:12] for digest in digests.values()]),
        "laurel.trained_through": max(digests, key=period_named),
        "laurel.flow_run": flow_run.ui_url or "",
        **({"laurel.sample": sample} if sample else {}),
    }
    commit = _git_commit()
    return {**tags, "mlflow.source.git.commit": commit} if commit else tags


def run_dataset(
    dataset: DatasetVersion,
    periods: Sequence[str],
    rows: int,
    context: Literal["training", "evaluation"],
) -> RunDataset:
    """Return ``rows`` rows of ``periods`` as a dataset of a run."""
    url = f"{lake().url}/{manifest_path(dataset.use_case, dataset.version)}"
    return RunDataset(dataset.version, url, dataset.digests(periods), rows, context)


def page_of(case: UseCase, title: str, sentence: str, links: Links = NO_LINKS) -> str:
    """Return the head of a run's or a version's page in MLflow, with a link to this flow run."""
    return about(case.name, title, sentence, {"flow run": flow_run.ui_url, **links})


def _in_short(digests: list[str]) -> str:
    """Return the digests, or one of them all if a tag of MLflow has no room for so many."""
    if len(digests) <= _MOST_DIGESTS:
        return " ".join(digests)
    whole = hashlib.sha256(" ".join(digests).encode()).hexdigest()
    return f"{whole[:12]} (of {len(digests)} periods)"


def _git_commit() -> str | None:
    """Return the commit of the running code: what the settings say, else the checkout; None if
    neither knows."""
    settings = Settings.read()
    if settings.commit:
        return settings.commit
    line = ["git", "-C", str(settings.home), "rev-parse", "HEAD"]
    try:
        return (
            subprocess.run(line, capture_output=True, text=True, check=False).stdout.strip() or None
        )
    except FileNotFoundError:  # no git, as in a container
        return None
