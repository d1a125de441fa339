"""ingest, train and evaluate on the real stack: what lies in the lake and in MLflow afterwards, and
what people are told.
"""

import hashlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import optuna
import polars as pl
import pytest
from usecases.toy import toy_rows

from blocks.clients.registry import CHALLENGER
from blocks.registry import RegistryError
from flows.evaluate import evaluate
from flows.ingest import ingest
from flows.promote import promote
from flows.train import train
from serving.package.manifest import MANIFEST, digest
from tasks.data.dataset import DatasetVersion, read_periods, read_version, versions
from tasks.models.selection import Recipe
from tasks.models.studies import find_old_studies
from tasks.packages.registered import open_package
from tasks.steps.train import Training, plan_tags
from tests.integration.planting import Loop, Outcome
from usecases.definition import Sample, load

FILES = "toy_files"
WriteSource = Callable[[str, pl.DataFrame], None]


@pytest.fixture
def source(loop: Loop) -> Iterator[WriteSource]:
    """Puts periods into the files that ``toy_files`` reads: three good ones are there."""
    folder = loop.settings.state / "sources"
    folder.mkdir()

    def write(period: str, rows: pl.DataFrame) -> None:
        rows.write_parquet(folder / f"{period}.parquet")

    for period in ("2024-01", "2024-02", "2024-03"):
        write(period, toy_rows(period))
    yield write
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_same_source_gives_the_same_version_and_writes_nothing(
    loop: Loop, source: WriteSource
) -> None:
    first = loop.run(ingest, FILES)
    written = loop.objects(f"datasets/{FILES}")
    assert len(written) == 4
    second = loop.run(ingest, FILES)
    assert second.result == first.result
    assert loop.objects(f"datasets/{FILES}") == written
    source("2024-02", toy_rows("2024-02").sample(fraction=1, shuffle=True, seed=1))
    assert loop.run(ingest, FILES).result == first.result
    assert loop.objects(f"datasets/{FILES}") == written


def test_through_ends_the_window_and_since_reads_only_what_is_newer(
    loop: Loop, source: WriteSource
) -> None:
    whole: DatasetVersion = loop.run(ingest, FILES).result
    part: DatasetVersion = loop.run(ingest, FILES, through="2024-02").result
    assert part.window == "2024-01..2024-02" and part.periods == whole.periods[:2]
    source("2024-04", toy_rows("2024-04"))
    source("2024-01", toy_rows("2024-01").head(1000))
    longer: DatasetVersion = loop.run(ingest, FILES, since="2024-03").result
    assert longer.window == "2024-01..2024-04" and longer.periods[:3] == whole.periods
    again: DatasetVersion = loop.run(ingest, FILES).result
    assert again.periods[0].rows == 1000 and again.periods[1:] == longer.periods[1:]
    assert read_version(loop.lake, FILES) == again


def test_bad_rows_lie_in_quarantine_with_the_reason_and_the_report_tells_them(
    loop: Loop, source: WriteSource
) -> None:
    rows = toy_rows("2024-03")
    broken = rows.with_row_index().with_columns(
        pl.when(pl.col("index") < 10).then(999.0).otherwise("first").alias("first"),
        pl.when(pl.col("index") == 20).then(None).otherwise("steady").alias("steady"),
    )
    source("2024-03", broken.drop("index"))
    dataset: DatasetVersion = loop.run(ingest, FILES).result
    last = dataset.periods[-1]
    assert (last.rows, last.quarantine) == (
        len(rows) - 11,
        {"first: outside -10 to 20": 10, "steady: not_nullable": 1},
    )
    assert last.quarantine_path
    kept = pl.read_parquet(loop.lake.read(last.quarantine_path))
    assert sorted(kept["id"]) == [*rows["id"][:10], rows["id"][20]]
    assert set(kept["quarantine_reason"]) == set(last.quarantine)
    report = loop.artifact("toy-files-validation")
    assert f"# Dataset `{dataset.version}`" in report and "first: outside -10 to 20 (10)" in report
    assert 999.0 not in read_periods(loop.lake, dataset, ["2024-03"])["first"]


def test_batch_that_is_broken_as_a_whole_is_refused_and_nothing_of_it_is_visible(
    loop: Loop, source: WriteSource
) -> None:
    """What else is refused: ``tests/unit/tasks/data/test_validation.py``."""
    said = "column 'steady' is missing; was it renamed to 'steadiness'?"
    loop.run(ingest, FILES)
    before, known = loop.objects(f"datasets/{FILES}"), versions(loop.lake, FILES)
    source("2024-04", toy_rows("2024-04").rename({"steady": "steadiness"}))
    refused = loop.run(ingest, FILES)
    assert refused.name == "Failed" and said in refused.message
    assert loop.objects(f"datasets/{FILES}") == before and versions(loop.lake, FILES) == known
    assert refused.told[0].startswith(
        f"{FILES}: the batch of 2024-04 was refused and nothing was written"
    )
    assert said in refused.told[0] and refused.told[1].startswith(f"{FILES}: flow ingest failed")


@pytest.fixture(scope="module")
def untrained(loop: Loop) -> Outcome:
    """What train says when there is nothing to train on."""
    return loop.run(train, "toy")


@pytest.fixture(scope="module")
def trained(loop: Loop, untrained: Outcome) -> Outcome:
    loop.run(ingest, "toy", through="2024-03")
    return loop.run(train, "toy")


@pytest.fixture(scope="module")
def evaluated(loop: Loop, trained: Outcome) -> Outcome:
    return loop.run(evaluate, "toy")


def test_dataset_that_is_not_there_is_said_with_the_command_that_makes_it(
    untrained: Outcome,
) -> None:
    assert untrained.name == "Failed"
    assert "The lake has no dataset of 'toy'. Make one: laurel run ingest toy." in untrained.message
    assert len(untrained.told) == 1 and "flow train failed: DatasetMissing" in untrained.told[0]


def test_training_ends_before_the_latest_labelled_period(loop: Loop, trained: Outcome) -> None:
    training: Training = trained.result
    assert (training.plan.periods, training.plan.holdout) == (("2024-01", "2024-02"), "2024-03")
    assert [one.rows for one in training.fitted] == [2 * 28 * 60]
    assert [row["candidate"] for row in loop.artifact("toy-candidates")] == ["logistic"]
    assert [text.splitlines()[0] for text in trained.told] == [
        "toy: training started on 2024-01..2024-02, judged on 2024-03"
    ]


def test_runs_tell_data_code_and_flow_run(loop: Loop, trained: Outcome, evaluated: Outcome) -> None:
    training: Training = trained.result
    dataset = read_version(loop.lake, "toy", training.plan.dataset_version)
    for run_id, flow_run_id in (
        (training.fitted[0].run_id, trained.run_id),
        (evaluated.result.run_id, evaluated.run_id),
    ):
        tags = loop.registry.run(run_id).tags
        assert tags["laurel.dataset_version"] == dataset.version
        assert tags["laurel.data_digest"].split() == [
            one.sha256[:12] for one in dataset.periods[:2]
        ]
        assert (tags["laurel.trained_through"], tags["laurel.training"]) == (
            "2024-02",
            training.plan.id,
        )
        assert len(tags["mlflow.source.git.commit"]) == 40
        assert tags["laurel.flow_run"].endswith(f"/flow-run/{flow_run_id}")


def test_runs_name_the_periods_that_they_learned_and_were_judged_on(
    loop: Loop, trained: Outcome, evaluated: Outcome
) -> None:
    training: Training = trained.result
    import mlflow

    dataset = read_version(loop.lake, "toy", training.plan.dataset_version)
    for run_id in (training.fitted[0].run_id, evaluated.result.run_id):
        run = mlflow.MlflowClient(loop.settings.mlflow_tracking_uri).get_run(run_id)
        inputs = {
            tags["mlflow.data.context"]: (tags["laurel.periods"], one.dataset)
            for one in run.inputs.dataset_inputs
            for tags in [{tag.key: tag.value for tag in one.tags}]
        }
        assert {context: periods for context, (periods, _) in inputs.items()} == {
            "training": "2024-01, 2024-02",
            "evaluation": "2024-03",
        }
        for periods, named in inputs.values():
            digests = dataset.digests(periods.split(", ")).values()
            whole = hashlib.sha256(" ".join(digests).encode()).hexdigest()
            assert (named.name, named.digest) == (dataset.version, whole[:36])
            assert dataset.version in named.source
        assert run.data.tags["mlflow.note.content"].startswith("**toy: ")


def test_hpo_below_the_gate_finds_a_challenger(loop: Loop, evaluated: Outcome) -> None:
    challenger = evaluated.result
    assert loop.registry.at("toy", CHALLENGER) == challenger
    (rival,) = challenger.tags["laurel.rivals"].split()
    assert loop.registry.run(rival).params["candidate"] == "logistic"
    scores = loop.artifact("toy-scores")
    assert [(row["candidate"], row["passes the gate"]) for row in scores] == [("logistic", False)]
    assert (
        scores[0]["roc_auc"]
        < 0.75
        < loop.registry.run(challenger.run_id).metrics["holdout_roc_auc"]
    )
    trials = loop.artifact("toy-trials")
    assert len(trials) == 8 and {True, False} == {row["pruned"] for row in trials}
    assert loop.artifact("toy-tuning") == 100
    url = f"sqlite:///{loop.settings.state}/studies.db"
    (name,) = find_old_studies(url, "toy", 0, datetime.now(UTC) + timedelta(1))
    assert len(optuna.load_study(study_name=name, storage=url).trials) == 8
    missed, found = (text.splitlines()[0] for text in evaluated.told)
    assert (
        "it misses the gate of 0.75, so HPO starts" in missed
        and "it passes the gate of 0.75" in found
    )
    assert f"{scores[0]['roc_auc']:.4f}" in missed and f"(was {scores[0]['roc_auc']:.4f})" in found


def test_challenger_has_signature_input_example_and_plots(loop: Loop, evaluated: Outcome) -> None:
    import mlflow

    run_id = evaluated.result.run_id
    model = mlflow.models.Model.load(f"runs:/{run_id}/model")
    assert model.signature and model.signature.inputs.input_names() == [
        "first",
        "second",
        "steady",
        "group",
    ]
    example = model.load_input_example()
    assert list(example.columns) == ["first", "second", "steady", "group"] and len(example) == 5
    plots = {file.path for file in mlflow.MlflowClient().list_artifacts(run_id, "plots")}
    assert plots == {"plots/roc.png", "plots/calibration.png", "plots/importance.png"}


def test_package_of_the_challenger_is_the_one_that_was_proven(
    loop: Loop, evaluated: Outcome
) -> None:
    with open_package(loop.registry, evaluated.result) as (package, folder):
        manifest = package.manifest
        assert (
            digest((folder / MANIFEST).read_bytes())
            == evaluated.result.tags["laurel.package_sha256"]
        )
        assert {
            name: digest((folder / name).read_bytes()) for name in manifest.files
        } == manifest.files
    dataset = read_version(loop.lake, "toy", manifest.dataset_version)
    assert manifest.trained_on == dataset.digests(["2024-01", "2024-02"])
    assert manifest.parity.rows > 2000 and manifest.parity.changed_decisions == 0
    assert (
        manifest.metrics["roc_auc"]
        == loop.registry.run(evaluated.result.run_id).metrics["holdout_roc_auc"]
    )


def test_training_that_was_killed_half_way_is_not_the_latest(loop: Loop, trained: Outcome) -> None:
    plan = trained.result.plan
    more = (*plan.recipes, Recipe(candidate="boosting", params={}, why="champion 1"))
    half = plan.model_copy(update={"id": "2024-03-killed", "recipes": more})
    metrics = {"training_rows": 1.0, "fit_seconds": 1.0}
    loop.registry.log_run(
        "toy", "killed", params={}, metrics=metrics, tags=plan_tags(half, more[0])
    )
    asked = loop.run(evaluate, "toy", training="2024-03-killed")
    assert (
        asked.name == "Failed"
        and "'toy' has no finished training '2024-03-killed'" in asked.message
    )
    assert loop.run(evaluate, "toy").result.tags["laurel.training"] == plan.id


def test_no_period_newer_than_the_champion_is_nothing_to_do(loop: Loop, evaluated: Outcome) -> None:
    assert loop.run(promote, "toy").name == "Completed"
    before = len(loop.registry.runs("toy", {}))
    outcome = loop.run(train, "toy")
    assert (outcome.name, outcome.state.is_completed()) == ("Nothing to do", True)
    assert "has learned 2024-03; the latest labelled period is 2024-03" in outcome.message
    assert len(loop.registry.runs("toy", {})) == before and outcome.told == []


def test_champions_recipe_competes_on_the_longer_window(loop: Loop) -> None:
    loop.run(ingest, "toy", through="2024-04")
    training: Training = loop.run(train, "toy").result
    champion = loop.registry.at("toy", "champion")
    assert champion
    assert [(one.candidate, one.why) for one in training.plan.competed] == [
        ("logistic", "baseline"),
        ("boosting", f"champion {champion.number}"),
    ]
    assert [one.candidate for one in training.plan.recipes] == ["boosting"]
    assert training.plan.chosen_on == "2024-03"
    assert [fit.recipe for fit in training.fitted] == list(training.plan.recipes)
    rows = loop.artifact("toy-candidates")
    assert rows[0]["on 2024-03"] < rows[1]["on 2024-03"]
    assert ["run" in row for row in rows] == [False, True]
    assert training.plan.periods == ("2024-01", "2024-02", "2024-03")


def test_no_hpo_when_a_baseline_passes_the_gate(loop: Loop) -> None:
    dataset: DatasetVersion = loop.run(ingest, "toy_easy", through="2024-02").result
    training: Training = loop.run(train, "toy_easy", dataset_version=dataset.version).result
    outcome = loop.run(evaluate, "toy_easy", training=training.plan.id)
    assert outcome.result.tags["laurel.recipe"] == "logistic"
    assert not loop.has_artifact("toy-easy-trials")
    assert len(outcome.told) == 1 and "it passes the gate" in outcome.told[0]


def test_sample_of_the_training_rows_is_told_from_the_run_to_the_model_card(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    sampled = load("toy_easy").model_copy(update={"sample": Sample(rows=1000, by="class")})
    for name, module in [*sys.modules.items()]:
        if name.startswith("tasks.steps") and getattr(module, "load", None) is load:
            monkeypatch.setattr(module, "load", lambda use_case: sampled)
    loop.run(ingest, "toy_easy", through="2024-03")
    training: Training = loop.run(train, "toy_easy").result
    run = loop.registry.run(training.fitted[0].run_id)
    assert run.metrics["training_rows"] == pytest.approx(1000, abs=2)
    said = run.tags["laurel.sample"]
    months = len(training.plan.periods)  # another module may have ingested more
    learned, learned_in_all = months * 28 * 60, (months + 1) * 28 * 60
    assert f"of {learned:,} labelled rows, drawn at random evenly by class" in said
    challenger = loop.run(evaluate, "toy_easy").result
    loop.run(promote, "toy_easy")  # nobody serves it: it is refitted and registered all the same
    tags = loop.registry.version("toy_easy", challenger.number).tags
    refitted = loop.registry.version("toy_easy", tags["laurel.refit"])
    for version, rows in ((challenger, learned), (refitted, learned_in_all)):
        with open_package(loop.registry, version) as (package, _):
            assert f"of {rows:,} labelled rows" in package.manifest.sample
    card = mlflow.artifacts.load_text(f"runs:/{refitted.run_id}/model_card.md")
    assert "fitted on a sample (" in card and f"of {learned_in_all:,} labelled rows" in card


def test_nothing_that_passes_the_gate_is_an_outcome_without_a_challenger(loop: Loop) -> None:
    dataset: DatasetVersion = loop.run(ingest, "toy_hopeless", through="2024-02").result
    training: Training = loop.run(train, "toy_hopeless", dataset_version=dataset.version).result
    outcome = loop.run(evaluate, "toy_hopeless", training=training.plan.id)
    assert (outcome.name, outcome.state.is_completed()) == ("Below the gate", True)
    assert loop.registry.versions("toy_hopeless") == []
    assert loop.registry.at("toy_hopeless", CHALLENGER) is None
    assert (
        "still misses the gate of 0.96" in outcome.told[-1]
        and "No challenger is registered" in outcome.told[-1]
    )
    refused = loop.run(promote, "toy_hopeless")
    assert (
        refused.name == "Failed"
        and "'toy_hopeless' has no challenger. Make one:" in refused.message
    )


def test_model_of_foreign_types_is_not_saved(loop: Loop) -> None:
    with pytest.raises(RegistryError, match="types of no supported library"):
        loop.registry.log_run("toy", "foreign", params={}, metrics={}, tags={}, model=Path())  # type: ignore[arg-type]
