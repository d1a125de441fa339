"""The winner of a contest, refitted on all that is known."""

import tempfile
import time
from pathlib import Path

from prefect import task

from blocks.registry import ModelVersion
from serving.records.chain import place_of
from serving.records.ledger import Decision
from tasks.contest.fairness import other_schema
from tasks.data.dataset import read_periods, read_version
from tasks.data.sampling import draw_rows
from tasks.ledger.model_card import as_page, model_card
from tasks.messages.announcements import metric_name, number
from tasks.models import modelling, settings
from tasks.models.cross_fitting import Judged
from tasks.models.fingerprint import TAG
from tasks.outside.blocks_of_run import RESUMED, lake, registry, service
from tasks.packages.calibration import Calibrated
from tasks.packages.expected_losses import losses_of
from tasks.packages.keeping import as_kept
from tasks.packages.packaging import Holdout, Origin, make_package
from tasks.packages.registered import open_package
from tasks.steps.provenance import DECISION, page_of, run_dataset, run_tags
from tasks.steps.rematch import REFIT_OF
from usecases.definition import load, period_named, periods_of

_REFIT = "The recipe won, not the weights: it is fitted with the rows of the hold-out too."


@task(**RESUMED)
def refit_winner(challenger: ModelVersion, decision: Decision, seed: int) -> ModelVersion:
    """Fit the winner's recipe on everything through the hold-out, package and prove it, and
    register it.

    The recipe won, not the weights: the newest period says most about the next."""
    case, store = load(challenger.use_case), registry()
    with open_package(store, challenger) as (package, folder):
        won, losses = package.manifest, losses_of(folder)
    dataset = read_version(lake(), case.name, won.dataset_version)
    learned_now = periods_of(decision.holdout)
    periods = case.training_window([*sorted(won.trained_on, key=period_named), *learned_now])
    drawn = draw_rows(lake(), dataset, periods, case, seed)
    rows, start = drawn.rows, time.monotonic()
    fitted = modelling.fit(case, case.candidate(won.recipe), won.params, rows, seed)
    seconds = time.monotonic() - start
    proof = read_periods(lake(), dataset, learned_now, case.label)
    tags = {
        **run_tags(dataset, periods, drawn.how),
        REFIT_OF: challenger.number,
        "laurel.holdout": decision.holdout,
    }
    judged_on = Holdout(
        won.holdout or decision.holdout,
        won.holdout_intervals,
        won.calibration,
        won.calibrations,
        losses,
        Calibrated(won.outputs, won.coverage or None),
    )
    provisional = str(decision.facts.get("provisional") or "")
    origin = Origin(
        won.recipe,
        won.params,
        dataset.version,
        dataset.digests(periods),
        won.metrics,
        judged_on,
        provisional,
        drawn.how,
    )
    decided = place_of(store.version(case.name, challenger.number).tags.get(DECISION, ""))
    links = {
        f"challenger {challenger.number}": store.version_url(challenger),
        "decision": service().page(case.name, decided) if decided else None,
    }
    with tempfile.TemporaryDirectory() as folder:
        # If the columns have changed since, the challenger cannot read the rows.
        seen_less = (
            None
            if other_schema(case, "", won)
            else Judged(store.load_model(challenger.run_id), learned_now)
        )
        refitted = make_package(
            Path(folder), case, fitted, origin, rows, proof, seed, judged=seen_less
        )
        run_id = store.log_run(
            case.name,
            f"{won.recipe} refit through {decision.holdout}",
            params={"candidate": won.recipe, "seed": seed, **won.params},
            metrics={
                "fit_seconds": seconds,
                "training_rows": len(rows),
                **{f"holdout_{k}": v for k, v in won.metrics.items()},
            },
            tags=tags,
            model=as_kept(fitted, refitted),
            example=modelling.inputs(case, rows.head(5)),
            package=refitted.folder,
            datasets=[run_dataset(dataset, periods, len(rows), "training")],
            note=page_of(
                case,
                f"{won.recipe}, fitted again through {decision.holdout}",
                f"{_REFIT} Its scores are those of challenger {challenger.number}.",
                links,
            ),
        )
    name = case.gate.metric.name
    version = store.register(
        case.name,
        run_id,
        refitted.sha256,
        {
            REFIT_OF: challenger.number,
            "laurel.recipe": won.recipe,
            "laurel.holdout": decision.holdout,
            "laurel.verdict": decision.verdict,
            **{tag: challenger.tags[tag] for tag in (TAG, settings.TAG) if tag in challenger.tags},
            **({"laurel.provisional": provisional} if provisional else {}),
        },
        page_of(
            case,
            f"{won.recipe}, fitted again through {decision.holdout}",
            f"{_REFIT} Challenger {challenger.number} reached {metric_name(name)} "
            f"{number(won.metrics.get(name))} on {decision.holdout}{_against(decision)}.",
            {**links, "model card": store.artifact_url(run_id, "model_card.html")},
        ),
        about=f"{case.title}. {case.question}",
    )
    store.tag(challenger, {"laurel.refit": version.number})
    card = model_card(case, refitted.manifest, version.number, decision, dataset)
    store.log_texts(run_id, {"model_card.md": card, "model_card.html": as_page(card)})
    store.tag(version, {"laurel.model_card": store.artifact_url(run_id, "model_card.html")})
    return version


def _against(decision: Decision) -> str:
    """Name the version that stood in for a champion that had learned the hold-out."""
    stand_in = decision.facts.get("stand_in")
    return f" with version {stand_in}, champion {decision.champion} before its refit" * bool(
        stand_in
    )
