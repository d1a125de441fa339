"""What NannyML's calculators say of windows, with their defaults: run by ``benchmarks.drift.peers``
in an environment of NannyML's own.

    python nannyml_alarms.py FOLDER

``FOLDER`` has ``columns.json``, ``reference.parquet`` and a Parquet file for each window, whose
column ``block`` has a date of the window's month. Prints one JSON object for each window."""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nannyml as nml
import pandas as pd
from nannyml.exceptions import NannyMLException

TIME = "block"


def alarms(folder: Path) -> dict[str, dict[str, Any]]:
    """By window: whether the reconstruction error of PCA alarms, how many columns alarm by
    themselves, and whether the estimated ROC AUC (CBPE) does, with its value."""
    columns = json.loads((folder / "columns.json").read_text())
    features = columns["numbers"] + columns["categories"]
    chunks = {"timestamp_column_name": TIME, "chunk_period": "M"}
    reference = read(folder / "reference.parquet", columns)
    joint = nml.DataReconstructionDriftCalculator(column_names=features, **chunks)
    single = nml.UnivariateDriftCalculator(
        column_names=features, treat_as_categorical=columns["categories"], **chunks
    )
    score = nml.CBPE(
        y_pred_proba=columns["score"],
        y_pred=columns["decision"],
        y_true=columns["label"],
        metrics=["roc_auc"],
        problem_type="classification_binary",
        **chunks,
    )
    for calculator in (joint, single, score):
        calculator.fit(reference)
    return {
        file.stem.removeprefix("window-"): answers(joint, single, score, read(file, columns))
        for file in sorted(folder.glob("window-*.parquet"))
    }


def answers(joint: Any, single: Any, score: Any, window: pd.DataFrame) -> dict[str, Any]:
    """``None`` from a calculator that fails, such as at an infinite value."""
    estimated = attempt(lambda: score.estimate(window))
    return {
        "pca": attempt(lambda: alerts(joint.calculate(window))),
        "columns": attempt(lambda: columns_beyond(single.calculate(window))),
        "estimate": None if estimated is None else alerts(estimated),
        "roc_auc": None if estimated is None else value(estimated),
    }


def attempt(calculate: Callable[[], Any]) -> Any:
    try:
        return calculate()
    except NannyMLException as error:
        print(error, file=sys.stderr)
        return None


def columns_beyond(result: Any) -> int:
    """How many columns alarm, by any of their methods."""
    frame = result.filter(period="analysis").to_df()
    by_column = frame.loc[:, (slice(None), slice(None), "alert")]
    by_column = by_column.T.groupby(level=0).any().any(axis=1).drop("chunk", errors="ignore")
    return int(by_column.sum())


def alerts(result: Any) -> bool:
    frame = result.filter(period="analysis").to_df()
    return bool(frame.loc[:, frame.columns.get_level_values(-1) == "alert"].to_numpy().any())


def value(result: Any) -> float:
    return float(result.filter(period="analysis").to_df()[("roc_auc", "value")].iloc[0])


def read(file: Path, columns: dict[str, Any]) -> pd.DataFrame:
    frame = pd.read_parquet(file)
    frame[columns["categories"]] = frame[columns["categories"]].astype("object")
    return frame


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(alarms(Path(sys.argv[1]))))
