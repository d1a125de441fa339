"""The model card: made of the version's own records, honest about the unknown, and safe to open."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serving.package.manifest import Coverage, Manifest, read_manifest
from serving.records.contest import Comparison, Contest
from serving.records.ledger import Decision
from tasks.data.dataset import DatasetVersion, PeriodFile
from tasks.ledger.entries import now
from tasks.ledger.model_card import as_page, model_card
from tests.fixtures.packages import write_package
from usecases.definition import UseCase, load


def comparison(metric: str = "roc_auc", gain: float = 0.01, rows: int = 900) -> Comparison:
    return Comparison(
        metric=metric,
        rows=rows,
        champion=0.7123,
        challenger=0.7123 + gain,
        gain=gain,
        low=gain - 0.005,
        high=gain + 0.005,
    )


@pytest.fixture
def case() -> UseCase:
    return load("toy")


@pytest.fixture
def manifest(tmp_path: Path, case: UseCase) -> Manifest:
    write_package(tmp_path)
    package_manifest = read_manifest((tmp_path / "package.json").read_bytes())
    return msgspec.structs.replace(
        package_manifest,
        metrics={"roc_auc": 0.7223},
        holdout_intervals={"roc_auc": (0.7101, 0.7345)},
        trained_on={"2026-01": "a" * 64},
        drift_importance={package_manifest.features[0].name: 0.25},
        drift_thresholds={package_manifest.features[0].name: 0.125, "score": 0.2},
    )


@pytest.fixture
def dataset() -> DatasetVersion:
    def period(name: str, digest: str) -> PeriodFile:
        return PeriodFile(
            period=name,
            path="-",
            sha256=digest * 64,
            rows=1234,
            labelled=1200,
            quarantine={"x: infinite": 7},
            quarantine_path=None,
        )

    return DatasetVersion(
        use_case="toy",
        version="2026-02-abc",
        columns={},
        periods=(period("2026-01", "a"), period("2026-02", "b")),
        source="a test",
        published="-",
    )


def contest_decision(**changes: Any) -> Decision:
    contest = Contest(
        verdict="promote",
        reasons=[],
        blocks=28,
        replicates=400,
        confidence=0.95,
        seed=0,
        main=comparison(),
        guards=[comparison("log_loss", 0.002)],
        slices={"region=north": comparison(gain=-0.003, rows=321)},
    )
    fields = {
        "kind": "contest",
        "verdict": "promote",
        "reasons": ["It wins."],
        "by": "a test",
        "run": None,
        "contest": contest,
    }
    versions = {"challenger": "4", "champion": "2", "holdout": "2026-02"}
    return Decision(**({"use_case": "toy", "time": now(), **versions} | fields | changes))


def row(card: str, first: str) -> list[str]:
    line_of_row = next(line for line in card.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line_of_row)[1:-1]]


def test_the_card_says_data_scores_slices_watch_and_decision(
    case: UseCase, manifest: Manifest, dataset: DatasetVersion
) -> None:
    card = model_card(case, manifest, "5", contest_decision(), dataset)
    assert card.startswith(f"# {case.title}: version 5\n")
    assert row(card, "roc_auc") == ["roc_auc", "0.7223", "0.7101 – 0.7345"]
    assert row(card, "region=north") == [
        "region=north",
        "roc_auc",
        "0.7123",
        "0.7093",
        "-0.0030",
        "-0.0080 – +0.0020",
        "321",
    ]
    assert row(card, "guard")[1:3] == ["log_loss", "0.7123"]
    assert row(card, "2026-01") == ["2026-01", "1,234", "1,200", "7", f"`{'a' * 16}`"]
    watched = row(card, manifest.features[0].name)
    assert watched[4:6] == ["25.0%", "0.125"]
    assert "its score is watched too, with threshold 0.200" in card
    assert "challenger 4 against champion 2" in card and "- It wins." in card


def test_a_period_that_was_not_trained_on_is_not_among_the_data(
    case: UseCase, manifest: Manifest, dataset: DatasetVersion
) -> None:
    assert "| 2026-02 |" not in model_card(case, manifest, "5", contest_decision(), dataset)


def test_card_says_that_the_rows_were_a_sample(
    case: UseCase, manifest: Manifest, dataset: DatasetVersion
) -> None:
    assert "fitted on the labelled rows of" in model_card(
        case, manifest, "5", contest_decision(), dataset
    )
    sampled = msgspec.structs.replace(manifest, sample="1,000 of 9,000 labelled rows")
    card = model_card(case, sampled, "5", contest_decision(), dataset)
    assert "fitted on a sample (1,000 of 9,000 labelled rows) of these periods" in card


def test_what_is_not_known_is_said_and_not_left_out(
    case: UseCase, manifest: Manifest, dataset: DatasetVersion
) -> None:
    bare = msgspec.structs.replace(
        manifest, holdout_intervals={}, drift_importance={}, drift_thresholds={}
    )
    card = model_card(case, bare, "1", contest_decision(contest=None, champion=None), dataset)
    assert row(card, "roc_auc")[2] == "not known"
    assert row(card, manifest.features[0].name)[4:6] == ["not known", "not watched"]
    assert "There was no champion to compare with." in card
    assert "against no champion" in card


def test_words_of_people_break_no_table_and_run_nothing(
    case: UseCase, manifest: Manifest, dataset: DatasetVersion
) -> None:
    odd = msgspec.structs.replace(manifest, recipe="a | b <script>alert(1)</script>")
    page = as_page(
        model_card(
            case, odd, "5", contest_decision(reasons=["<img src=x onerror=alert(1)>"]), dataset
        )
    )
    assert "<script>" not in page and "<img" not in page
    assert "<td>a | b &lt;script&gt;alert(1)&lt;/script&gt;</td>" in page
    assert f"<title>{case.title}: version 5</title>" in page and page.count("<table>") == 5


def test_card_says_what_the_intervals_held_and_that_rows_were_too_few(
    case: UseCase, manifest: Manifest, dataset: DatasetVersion
) -> None:
    decision = contest_decision()
    assert "Coverage" not in model_card(case, manifest, "3", decision, dataset)
    coverage = Coverage(
        promise=0.99,
        method="quantiles",
        rows=150,
        needed=199,
        windows=["2026-01", "2026-02"],
        held=0.953,
        low=0.91,
        high=0.98,
    )
    promised = msgspec.structs.replace(manifest, coverage=coverage)
    card = model_card(case, promised, "3", decision, dataset)
    assert "| made to hold | 99% of the labels |" in card
    assert "| held where it was left out | 95.3% |" in card and "91.0% – 98.0%" in card
    assert "150 rows of 2026-01, 2026-02" in card and "It takes 199 rows to promise 99%" in card
