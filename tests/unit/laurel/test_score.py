"""``laurel score``, with a registry on a port and a lake in a folder."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from blocks.lake import Lake
from blocks.registry import ModelRegistry, ModelVersion
from blocks.settings import Settings
from laurel.main import main
from serving.records.ledger import Decision
from tests.fakes.registry import RegistryServer
from tests.fixtures.ledgers import append_in_lake
from tests.fixtures.packages import write_package
from tests.unit.tasks.scores.conftest import parcels
from tests.unit.tasks.scores.test_batch import parcel_rows
from usecases.definition import UseCaseError

Score = Callable[..., int]


@pytest.fixture
def score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Score]:
    """``score(*arguments)`` of the command, in a folder with ``june.parquet``; version 1 of
    ``parcels`` is champion, and there is a version 2."""

    def load(name: str) -> object:
        if name != "parcels":
            raise UseCaseError(f"Unknown use case {name!r}. Known: parcels.")
        return parcels()

    with RegistryServer(tmp_path / "artifacts") as registry:
        digests = [
            registry.register(
                "parcels", number, lambda to, n=number: write_package(to, "parcels", n)
            )
            for number in (1, 2)
        ]
        registry.crown("parcels", 1)

        def download(self: ModelRegistry, version: ModelVersion, folder: Path) -> Path:
            made = registry.package_folder("parcels", int(version.number))
            return Path(shutil.copytree(made, folder / "package"))

        # MLflow's library lists the files with requests that the fake does not know.
        monkeypatch.setattr(ModelRegistry, "download_package", download)
        settings = Settings.model_validate(
            {
                "state": tmp_path / "state",
                "lake": f"file://{tmp_path / 'lake'}",
                "mlflow_url": registry.url,
            }
        )
        crown = Decision(
            use_case="parcels",
            time="2026-11-30T12:00:00+00:00",
            kind="crown",
            verdict="crowned",
            version="1",
            facts={"package_sha256": digests[0]},
            reasons=[],
            by="a test",
            run=None,
        )
        append_in_lake(Lake.of(settings), crown)
        parcel_rows().write_parquet(tmp_path / "june.parquet")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("deployments.local.settings.read_stack_settings", lambda: settings)
        monkeypatch.setattr("tasks.scores.batch.load", load)
        yield lambda *words: main(["score", *words, "--no-check-drift"])


def test_the_champion_scores_a_file_and_a_rerun_says_so(
    score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score("parcels", "june.parquet", "--to", "out.parquet") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "✓ scored   137 rows of june.parquet with version 1"
    assert told[1].startswith("  output   ") and told[1].endswith("/out.parquet")
    assert told[2] == "! unknown  carrier: '??' (34): scored as no category"
    assert {*pl.read_parquet("out.parquet")["model_version"]} == {"1"}
    assert score("parcels", "june.parquet", "--to", "out.parquet") == 0
    assert "nothing was written again" in capsys.readouterr().out


def test_another_version_and_json(score: Score, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--version", "2", "--to", "out.parquet", "--keep", "parcel", "--json")
    assert score("parcels", "june.parquet", *words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["scored"], told["refused"]) == ("2", 137, 0)
    assert told["again"] is False
    assert pl.read_parquet("out.parquet").columns[:3] == ["row", "parcel", "score"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("parcels",), "No rows are named"),
        (("parcels", "july.parquet"), "july.parquet is no file"),
        (("parcels", "june.parquet", "--version", "9"), "has no version 9; it has 1, 2"),
        (("parcel", "june.parquet", "--version", "1"), "Unknown use case 'parcel'"),
        (("parcels", "june.parquet", "--to", "june.parquet"), "is no output of Laurel"),
        (("parcels", "june.parquet", "--to", "scores.csv"), "ends with .parquet"),
        (("parcels", "--table", "orders"), "LAUREL_WAREHOUSE_URL"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(
    score: Score, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert score(*words) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ") and message in told
    assert len(pl.read_parquet("june.parquet")) == 137


def test_what_is_printed_fits_eighty_columns(
    score: Score, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = parcel_rows(3).with_columns(distance=pl.Series([1.0, -1.0, None]), colour=pl.lit("red"))
    rows.write_parquet("bad.parquet")
    assert score("parcels", "bad.parquet", "--to", "out.parquet") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  not used colour" in lines
    assert "           1 × Field 'distance': expected `float` >= 0.0" in lines
    assert max(len(line) for line in lines if "/" not in line) <= 80
