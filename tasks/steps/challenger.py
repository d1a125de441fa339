"""The challenger: the best of a training, packaged, proven and registered with its plots."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from prefect import get_run_logger, task

from blocks.clients.registry import CHALLENGER
from blocks.registry import ModelVersion
from tasks.measures import plots
from tasks.messages.announcements import metric_name
from tasks.models import modelling, settings
from tasks.models.fingerprint import TAG, recipes_of
from tasks.models.importance import permutation_importance
from tasks.outside.blocks_of_run import RESUMED, registry
from tasks.packages.judging import package_challenger
from tasks.packages.packaging import Origin
from tasks.steps.evaluate import Scored
from tasks.steps.plan import Plan, holdout_rows, training_rows
from tasks.steps.provenance import page_of
from tasks.steps.rematch import REMATCH
from usecases.definition import UseCase, load

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@task(**RESUMED)
def register_challenger(plan: Plan, best: Scored, rivals: Sequence[str] = ()) -> ModelVersion:
    """Make the package, prove it on the whole hold-out, and register it with its plots under the
    alias ``challenger``.

    ``rivals`` are the MLflow runs of candidates that it was chosen from on the hold-out itself, be
    it by the gate that they missed: the contest has to know them."""
    case, store, recipe = load(plan.use_case), registry(), best.fitted.recipe
    dataset, drawn = training_rows(case, plan)
    proof = holdout_rows(case, plan)
    fitted = store.load_model(best.fitted.run_id)
    origin = Origin(
        recipe.candidate,
        recipe.params,
        dataset.version,
        dataset.digests(plan.periods),
        best.scores,
        sample=drawn.how,
    )
    with tempfile.TemporaryDirectory() as folder:
        package = package_challenger(
            Path(folder), case, fitted, origin, drawn.rows, plan.holdout, proof, plan.seed
        )
        store.log_package(best.fitted.run_id, package.folder, draw(case, fitted, proof, plan.seed))
    parity = package.manifest.parity
    proven = {
        "parity_rows": float(parity.rows),
        "parity_largest_difference": parity.largest_difference,
        "parity_changed_decisions": float(parity.changed_decisions),
    }
    store.add_to_run(best.fitted.run_id, proven, {})
    version = store.register(
        plan.use_case,
        best.fitted.run_id,
        package.sha256,
        {
            "laurel.holdout": plan.holdout,
            "laurel.training": plan.id,
            "laurel.recipe": recipe.candidate,
            **({"laurel.rivals": " ".join(rivals)} if rivals else {}),
            TAG: recipes_of(case),
            settings.TAG: settings.settings_of(case),
            **({REMATCH: plan.rematch.champion} if plan.rematch else {}),
        },
        page_of(
            case,
            f"challenger, {recipe.candidate} trained on {plan.window}",
            f"{metric_name(case.gate.metric.name)} {best.scores[case.gate.metric.name]:.4f} on "
            f"{plan.holdout}.",
        ),
        about=f"{case.title}. {case.question}",
    )
    store.set_alias(version, CHALLENGER)
    get_run_logger().info(
        "challenger use_case=%s version=%s parity=%s",
        plan.use_case,
        version.number,
        package.manifest.parity,
    )
    return version


def draw(case: UseCase, fitted: "Pipeline", rows: pl.DataFrame, seed: int) -> dict[str, Any]:
    """Return the plots of a registered model, by artifact path."""
    truth, predicted = modelling.labels(case, rows), modelling.predict(fitted, case, rows)
    losses = permutation_importance(
        fitted.named_steps["model"],
        modelling.encode(fitted, case, rows),
        truth,
        modelling.owners(case, fitted),
        case.gate.metric,
        seed,
    )
    names = [column.name for column in case.matrix_columns]
    return {
        **plots.of_target(case.target, truth, predicted),
        "plots/importance.png": plots.importance(names, losses, case.gate.metric),
    }
