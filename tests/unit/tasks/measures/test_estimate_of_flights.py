"""The estimate until labels come, on the real months after a champion of flights."""

import numpy as np
import polars as pl
import pytest

from tasks.data.sources import source_of
from tasks.measures.estimate import estimate
from tasks.measures.metrics import score
from tasks.models import modelling
from usecases.definition import ROC_AUC, load

# NannyML 0.13.1's CBPE on the same champion and months: mean absolute error of ROC AUC.
NANNYML = 0.0114


@pytest.mark.slow("fits a model of flights")
@pytest.mark.nightly("nine months of flights")
def test_its_mean_error_on_nine_months_is_below_nannyml_s(one_thread: None) -> None:
    case = load("flights")
    source = source_of(case)
    months = {name: source.read(name) for name in source.periods()}
    learned = pl.concat([rows for name, rows in months.items() if name <= "2013-03"])
    recipe = case.candidate("boosting")
    fitted = modelling.fit(case, recipe, recipe.params, learned.drop_nulls(case.label), seed=0)
    errors = []
    for name, rows in months.items():
        if name > "2013-03":
            labelled = rows.drop_nulls(case.label)
            scores = modelling.predict(fitted, case, labelled)
            realised = score(ROC_AUC, modelling.labels(case, labelled), scores)
            errors.append(abs(estimate(ROC_AUC, scores, scores) - realised))
    assert len(errors) == 9
    assert np.mean(errors) < NANNYML
