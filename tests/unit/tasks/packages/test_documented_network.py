"""The PyTorch network of docs/use-cases.md, word for word, if PyTorch is installed: it is no
dependency of Laurel."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from usecases.toy import toy_rows

from blocks.settings import REPOSITORY
from serving.package.model import load as load_package
from tasks.measures.metrics import score
from tasks.models.modelling import fit, labels, predict
from tasks.models.tuning import check_search
from tasks.packages.packaging import Origin, make_package, score_rows
from tasks.packages.rehearsal import rehearse
from usecases import definition
from usecases.definition import Candidate, UseCase

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow("PyTorch")]


def documented() -> Candidate:
    """The candidate of the page, with what the page's first example imports."""
    page = (REPOSITORY / "docs" / "use-cases.md").read_text()
    section = page[page.index("### A model of your own") :]
    (block,) = re.findall(r"```py\n(.*?)```", section, re.DOTALL)
    names: dict[str, Any] = dict(vars(definition))
    exec(block, names)
    candidate: Candidate = names["NETWORK"]
    return candidate


def test_documented_network_is_a_candidate() -> None:
    """Without PyTorch too: the file is loaded by flows that do not need it."""
    candidate = documented()
    assert candidate.export is not None and candidate.search is not None


def test_documented_network_is_proven_and_served(case: UseCase, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    own = documented()
    case = case.model_copy(update={"candidates": (own,)})
    rows, later = toy_rows("2024-01"), toy_rows("2024-02")
    check_search(case, own, seed=7)
    assert rehearse(case, own, own.params, rows, seed=7)
    fitted = fit(case, own, {"epochs": 40, "width": 32}, rows, 7)
    assert score(case.gate.metric, labels(case, later), predict(fitted, case, later)) > 0.8
    origin = Origin("network", {}, "2024-01-a", {"2024-01": "a"}, {})
    saved = make_package(tmp_path, case, fitted, origin, rows, later, 7)
    assert saved.manifest.parity.changed_decisions == 0
    answers = score_rows(load_package(tmp_path, saved.sha256), later.select(case.column_names))
    np.testing.assert_allclose(answers, predict(fitted, case, later), atol=1e-5)
