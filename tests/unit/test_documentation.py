"""The documentation is true: commands, settings, links, variables, flows, fields, and both examples
of a use case.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from usecases.toy import toy_rows
from usecases.toy_number import price_rows

from blocks.settings import REPOSITORY, Settings
from tasks.models.modelling import fit
from tasks.packages.packaging import Origin, make_package
from tests.fixtures.texts import reviews, text_case
from usecases import definition
from usecases.definition import (
    AB,
    Approval,
    Canary,
    Candidate,
    Column,
    DriftPolicy,
    Gate,
    Guard,
    LabelPolicy,
    Promotion,
    RetrainPolicy,
    Search,
    Shadow,
    UseCase,
)

USE_CASES, SETTINGS, LOOP = (
    REPOSITORY / "docs" / name for name in ("use-cases.md", "settings.md", "loop.md")
)
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
LARGEST_PICTURE_BYTES = 200_000


def named(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


each_page = pytest.mark.parametrize("page", PAGES, ids=named)


def code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    """Return the page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table row that begins with code."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| `")
    ]


def make_targets(text: str) -> set[str]:
    """Return the targets in code: between backticks, or in a line of a shell block."""
    inside = re.findall(r"`(?:\w+=\S+ )*make ([a-z-]+)", text)
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return {*inside, *re.findall(r"^(?:\w+=\S+ )*make ([a-z-]+)", "\n".join(blocks), re.MULTILINE)}


def anchor(heading: str) -> str:
    """Return GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@each_page
def test_every_documented_command_of_make_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert make_targets(page.read_text()) <= targets


def test_every_command_of_make_is_in_the_readme() -> None:
    targets = set(
        re.findall(r"^([a-z-]+):.*## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    )
    assert {"demo", "test"} <= targets
    assert {
        re.match(r"`make ([a-z-]+)", row[0]).group(1) for row in rows(commands_of_readme())
    } == targets  # type: ignore[union-attr]


def commands_of_readme() -> str:
    return (REPOSITORY / "README.md").read_text().partition("## Commands")[2].partition("\n## ")[0]


def test_every_setting_is_documented_with_its_default() -> None:
    documented = {name.strip("`"): default for name, default, _ in rows(SETTINGS.read_text())}
    assert documented == {
        variable(name): cell_of(field.default) for name, field in Settings.model_fields.items()
    }


def variable(name: str) -> str:
    alias = Settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"LAUREL_{name.upper()}"


def cell_of(default: Any) -> str:
    special = {
        None: "–",
        "": "–",
        REPOSITORY: "the checkout",
        REPOSITORY / ".laurel": "`.laurel` in the checkout",
    }
    return special.get(default, f"`{default}`")


@each_page
def test_every_variable_that_is_named_exists(page: Path) -> None:
    # Two are not settings: one marks the stack's processes, one is replaced when prefect.yaml is
    # applied.
    variables = {variable(name) for name in Settings.model_fields} | {
        "LAUREL_STACK",
        "LAUREL_PYTHONPATH",
    }
    assert set(re.findall(r"LAUREL_[A-Z0-9_]+", page.read_text())) <= variables


@each_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, fragment = target.partition("#")
        if "://" in target:
            continue
        there = page.parent / path if path else page
        headings = (
            re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
            if there.suffix == ".md" and there.exists()
            else []
        )
        if not there.exists() or (fragment and fragment not in map(anchor, headings)):
            broken.append(target)
    assert not broken


def test_every_page_is_in_the_index() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (REPOSITORY / "docs" / "README.md").read_text()))
    pages = {page.name for page in (REPOSITORY / "docs").glob("*.md")} - {"README.md"}
    assert pages == linked


@each_page
def test_every_file_that_is_named_exists(page: Path) -> None:
    """Files such as ``flows/train.py``, in backticks. Names with placeholders and the files of the
    examples are left out.
    """
    rooms = "flows|tasks|blocks|serving|deployments|benchmarks|tests|docs|usecases"
    names = re.findall(rf"`((?:{rooms})/[\w./-]+\.\w+)`", prose(page))
    examples = {f"usecases/{name}.py" for name in ("returns", "churn", "orders", "orders/invent")}
    assert [
        name for name in names if name not in examples and not (REPOSITORY / name).exists()
    ] == []


@each_page
def test_every_module_that_is_to_be_run_exists(page: Path) -> None:
    names = re.findall(r"python -m ((?:deployments|benchmarks|serving)[\w.]*)", page.read_text())
    paths = [REPOSITORY / name.replace(".", "/") for name in names]
    assert [
        str(path)
        for path in paths
        if not (path.with_suffix(".py").exists() or (path / "__main__.py").exists())
    ] == []


def test_every_flow_is_on_the_page_of_the_loop_with_its_parameters() -> None:
    flows = {path.stem for path in (REPOSITORY / "flows").glob("*.py")} - {"__init__", "runs"}
    table = {
        row[0].strip("`"): row[1]
        for row in rows(
            LOOP.read_text().partition("## What each flow writes")[2].partition("\n## ")[0]
        )
    }
    assert set(table) == flows
    for name, cell in table.items():
        assert re.findall(r"`(\w+)`", cell) == parameters(name)


def parameters(flow: str) -> list[str]:
    """Return the parameters of the flow's function without the use case, which every flow has. The
    source is parsed, not imported, so that Prefect need not start.
    """
    text = (REPOSITORY / "flows" / f"{flow}.py").read_text()
    signature = re.search(rf"^async def {flow}\((.*?)\) ->", text, re.DOTALL | re.MULTILINE)
    assert signature is not None
    names = re.findall(r"(\w+): ", signature.group(1))
    assert names[0] == "use_case"
    return names[1:]


POLICIES = [
    UseCase,
    Column,
    Candidate,
    Search,
    Promotion,
    DriftPolicy,
    LabelPolicy,
    RetrainPolicy,
    Approval,
    Shadow,
    Canary,
    AB,
]


@pytest.mark.parametrize("kind", POLICIES, ids=lambda kind: kind.__name__)
def test_every_field_of_a_use_case_is_documented_with_its_default(kind: type[BaseModel]) -> None:
    documented = {row[0].strip("`"): row[1] for row in rows(section(f"### `{kind.__name__}`"))}
    assert documented == {
        name: default_of(field.default) for name, field in kind.model_fields.items()
    }


def section(heading: str) -> str:
    """Return the text under a heading of the page about use cases."""
    return USE_CASES.read_text().split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]


def default_of(default: Any) -> str:
    if default is PydanticUndefined:
        return ""
    if isinstance(default, BaseModel):
        return f"`{type(default).__name__}()`"
    return '`""`' if default == "" else f"`{default}`"


def test_gate_and_guard_are_documented() -> None:
    documented = {row[0].strip("`") for row in rows(section("### `Gate` and `Guard`"))}
    assert documented == set(Gate.model_fields) | set(Guard.model_fields)


def test_each_target_is_documented_with_its_fields_and_metrics() -> None:
    lines = [line.strip("|").split("|") for line in section("### `target`").splitlines()]
    table = {name.strip(): cells for name, *cells in lines if len(cells) == 3}
    targets: tuple[Any, ...] = (definition.Binary, definition.Classes, definition.Number)
    for place, target in enumerate(targets):
        stated = re.findall(r"`([^`]+)`", table["fields"][place])
        fields = {name.partition("=")[0] for name in stated}
        assert fields == set(target.model_fields)
        metrics = {
            name
            for name in vars(definition)
            if isinstance(metric := getattr(definition, name), definition.Metric)
            and target.kind in metric.targets
        }
        stated = set(re.findall(r"`([A-Z_0-9]+)`", table["metrics"][place]))
        if target is definition.Classes:  # "these, and"
            stated |= set(re.findall(r"`([A-Z_0-9]+)`", table["metrics"][0]))
        assert stated == metrics


def test_the_candidate_of_the_page_on_texts_is_fitted() -> None:
    texts = USE_CASES.read_text().split("\n### Texts\n", 1)[1].split("```python\n", 1)[1]
    code = texts.split("```", 1)[0].replace("\nCandidate(", "\nwritten = Candidate(")
    names: dict[str, Any] = {"Candidate": definition.Candidate}
    exec(code, names)
    case = text_case(names["written"])
    fitted = fit(case, case.candidates[0], dict(case.candidates[0].params), reviews(), 7)
    assert len(fitted["encode"].named_transformers_["review"].vocabulary_) > 20


# One separate process for both examples: their package is merged into `usecases` at its import, as
# in a team's repository.
FOLLOW = """
import sys, tempfile
from pathlib import Path
from blocks.lake import Lake
from tasks.data.dataset import (read_periods, write_version,)
from tasks.data.ingestion import ingest_period
from tasks.data.sources import source_of
from tasks.measures.metrics import score
from tasks.models.modelling import fit, labels, predict
from tasks.packages.packaging import Origin, make_package
from usecases.definition import load

for name in sys.argv[1:]:
    case = load(name)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(url=f"file://{folder}", credentials=None)
        window, holdout = source_of(case).periods()[:2]
        periods = [ingest_period(lake, case, period) for period in (window, holdout)]
        dataset, _ = write_version(lake, case, periods)
        assert dataset.rows > 0 and dataset.quarantined == 0
        rows = read_periods(lake, dataset, [window], case.label)
        later = read_periods(lake, dataset, [holdout], case.label)
        for candidate in case.candidates:
            fitted = fit(case, candidate, candidate.params, rows, seed=7)
            reached = score(case.gate.metric, labels(case, later), predict(fitted, case, later))
            assert case.gate.passes(reached), reached
            scores = {case.gate.metric.name: reached}
            params, digests = dict(candidate.params), dataset.digests([window])
            origin = Origin(candidate.name, params, dataset.version, digests, scores)
            target = Path(folder) / candidate.name
            package = make_package(target, case, fitted, origin, rows, later, seed=7)
            assert package.manifest.parity.changed_decisions == 0
            print("packaged", name, candidate.name)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A team's repository: a package ``usecases`` with the files that the pages ask for."""
    room = tmp_path_factory.mktemp("shop")
    folder = room / "usecases"
    (folder / "orders").mkdir(parents=True)
    line = re.search(r"one line:  (.+)", USE_CASES.read_text())
    assert line is not None
    (folder / "__init__.py").write_text(line.group(1))
    example, invent, *_ = code_blocks(USE_CASES, "python")
    (folder / "returns.py").write_text(example)
    (folder / "orders" / "invent.py").write_text(invent)
    (shorter,) = code_blocks(REPOSITORY / "README.md", "python")
    (folder / "churn.py").write_text(shorter)
    return room


def run(arguments: list[str], shop: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(shop)])}
    process = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=shop,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def packaged(shop: Path) -> list[str]:
    """Package both examples, and return the results in their order."""
    run([str(shop / "usecases" / "orders" / "invent.py")], shop)
    return [
        line.removeprefix("packaged ")
        for line in run(["-W", "ignore", "-c", FOLLOW, "returns", "churn"], shop).splitlines()
    ]


@pytest.mark.slow("a process that imports everything")
@pytest.mark.parametrize(
    ("name", "candidates"), [("returns", ["logistic", "boosting"]), ("churn", ["boosting"])]
)
def test_the_example_of_a_use_case_is_ingested_fitted_and_packaged(
    name: str, candidates: list[str], packaged: list[str]
) -> None:
    assert [
        line.removeprefix(f"{name} ") for line in packaged if line.startswith(f"{name} ")
    ] == candidates


# Arguments that the page mentions, and those that a class requires or that keep its columns to the
# existing ones.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "BaggingClassifier": {"n_estimators": 3},
    "CalibratedClassifierCV": {"estimator": GaussianNB(), "method": "sigmoid"},
    "FeatureUnion": {"transformer_list": [("scaled", StandardScaler()), ("turned", PCA(1))]},
    "KBinsDiscretizer": {"encode": "ordinal"},
    "LogisticRegressionCV": {"cv": 2},
    "MLPClassifier": {"max_iter": 20},
    "PCA": {"n_components": 2},
    "Pipeline": {"steps": [("scaled", StandardScaler())]},
    "ColumnTransformer": {"transformers": [("scaled", StandardScaler(), [0])]},
    "SGDClassifier": {"loss": "log_loss"},
    "SVC": {"probability": True},
    "SelectKBest": {"k": 2},
    "SelectPercentile": {"percentile": 60},
    "StackingClassifier": {"estimators": [("bayes", GaussianNB())]},
    "TruncatedSVD": {"n_components": 2},
    "VotingClassifier": {
        "estimators": [("bayes", GaussianNB())],
        "voting": "soft",
        "flatten_transform": False,
    },
}


def converting(kind: str) -> list[str]:
    """Return the names in a row of the table of convertible classes."""
    row = re.search(rf"^\| {kind} \| (.*) \|$", section("## What converts"), re.MULTILINE)
    assert row is not None
    return re.findall(r"`([A-Z]\w+)`", row.group(1))


def built(name: str) -> Any:
    from sklearn import compose, pipeline
    from sklearn.utils import all_estimators

    makers = {
        **dict(all_estimators()),
        "Pipeline": pipeline.Pipeline,
        "ColumnTransformer": compose.ColumnTransformer,
    }
    return makers[name](**ARGUMENTS.get(name, {}))


@pytest.mark.slow("fits and converts fifty models")
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*converge"
)
@pytest.mark.parametrize("name", converting("regressors"))
def test_regressor_that_is_said_to_convert_is_packaged(name: str, tmp_path: Path) -> None:
    def build(params: Any, layout: definition.Layout, seed: int) -> Any:
        if name == "HistGradientBoostingRegressor":
            return built(name)
        return make_pipeline(SimpleImputer(), built(name))

    case = definition.load("toy_number")
    rows, later = (price_rows(month, 20) for month in ("2024-01", "2024-02"))
    fitted = fit(case, Candidate(name="one", build=build), {}, rows, seed=7)
    origin = Origin("one", {}, "2024-01-0", {"2024-01": "0"}, {"rmse": 0.5})
    made = make_package(tmp_path, case, fitted, origin, rows, later, seed=7, watched=False)
    assert made.manifest.parity.largest_difference <= case.parity_tolerance


@pytest.mark.slow("fits and converts fifty models")
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*converge"
)
@pytest.mark.parametrize("name", [*converting("classifiers"), *converting("steps before them")])
def test_what_is_said_to_convert_is_packaged_without_a_changed_decision(
    name: str, tmp_path: Path
) -> None:
    def build(params: Any, layout: definition.Layout, seed: int) -> Any:
        if name == "HistGradientBoostingClassifier":
            return built(name)
        if name in converting("classifiers"):
            return make_pipeline(SimpleImputer(), built(name))
        numbers = (
            [SimpleImputer(), built(name)]
            if name not in ("SimpleImputer", "OneHotEncoder")
            else [SimpleImputer()]
        )
        codes = ("codes", OneHotEncoder(handle_unknown="ignore"), list(layout.categories))
        return make_pipeline(
            ColumnTransformer([codes, ("numbers", make_pipeline(*numbers), list(layout.numbers))]),
            LogisticRegression(),
        )

    case, rows, later = definition.load("toy"), toy_rows("2024-01", 20), toy_rows("2024-02", 20)
    fitted = fit(case, Candidate(name="one", build=build), {}, rows, seed=7)
    origin = Origin("one", {}, "2024-01-0", {"2024-01": "0"}, {"roc_auc": 0.5})
    made = make_package(tmp_path, case, fitted, origin, rows, later, seed=7, watched=False)
    assert made.manifest.parity.changed_decisions == 0


def test_pictures_are_shown_and_small() -> None:
    targets = {
        target
        for page in PAGES
        for target in re.findall(r"!\[[^\]]+\]\(\S*images/([^)]+)\)", page.read_text())
    }
    files = list((REPOSITORY / "docs" / "images").iterdir())
    assert {path.name for path in files} == targets
    assert [path.name for path in files if path.stat().st_size > LARGEST_PICTURE_BYTES] == []


def test_the_picture_of_the_loop_loads_nothing_and_names_its_colours_for_dark_pages_too() -> None:
    text = (REPOSITORY / "docs" / "images" / "loop.svg").read_text()
    assert "prefers-color-scheme: dark" in text
    assert not re.findall(r"href|<script|@import|url\((?!#)", text)


def test_figures_in_the_readme_stand_beside_the_command_that_makes_them() -> None:
    """A paragraph, table row or transcript with a measured time or size names the command, or the
    previous one does.
    """
    paragraphs = [*re.split(r"\n\n|\n(?=[|-])", (REPOSITORY / "README.md").read_text())]
    measured = re.compile(r"\b\d[\d.,]* ?(?:ms|s|MB|GB|seconds|minutes)\b(?! late)")
    command = re.compile(r"`(?:make|python -m) [^`]+`")
    alone = [
        here
        for before, here in zip(["", *paragraphs], paragraphs, strict=False)
        if measured.search(here) and not command.search(here + before)
    ]
    # A transcript may contain an empty line: its second part follows the first.
    assert [here for here in alone if not here.startswith("Champion 1 (version 2")] == []
