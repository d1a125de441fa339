"""Which rows of a batch the service would refuse, and in which words.

Whole columns are screened first; what msgspec and the service's own words say of a value decides
for those that the screen finds."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import polars as pl

from serving.package.kinds import expected_values
from serving.package.manifest import Feature
from serving.package.times import decode_time, read_time
from serving.package.values import shorten, value_type, wrong_value


class RowRules:
    """The rules for the inputs of one package."""

    def __init__(self, features: Sequence[Feature], dtype: str) -> None:
        self._expected = expected_values(features)
        self._features = {feature.name: feature for feature in features}
        self._types = {feature.name: value_type(feature, dtype) for feature in features}
        self._largest = float(np.finfo(np.dtype(dtype)).max)

    def refusals(self, rows: pl.DataFrame) -> dict[int, str]:
        """The position of each row that is refused, and the first reason.

        The columns are those of the features, in the types of ``tasks/data/kinds.py``."""
        suspects = rows.select(
            self._suspicious(feature).fill_null(False).alias(name)
            for name, feature in self._features.items()
        )
        reasons: dict[int, str] = {}
        for column in suspects:
            if not column.any():
                continue
            values = rows[column.name]
            for row in column.arg_true().to_list():
                reason = None if row in reasons else self._reason(column.name, values[row])
                if reason is not None:
                    reasons[row] = reason
        return reasons

    def _suspicious(self, feature: Feature) -> pl.Expr:
        """Whether a value may be refused: each that is, and perhaps others."""
        value = pl.col(feature.name)
        faults = [pl.lit(False) if feature.nullable else value.is_null()]
        if feature.kind == "number":
            least = -self._largest if feature.low is None else feature.low
            most = self._largest if feature.high is None else feature.high
            faults.append(~((value >= least) & (value <= most)))
        if feature.longest is not None:
            faults.append(value.str.len_chars() > feature.longest)
        if feature.earliest is not None:
            faults.append(value < pl.lit(read_time(feature.earliest)))
        if feature.latest is not None:
            faults.append(value > pl.lit(read_time(feature.latest)))
        return pl.any_horizontal(*faults)

    def _reason(self, name: str, value: Any) -> str | None:
        sent = value.isoformat() if isinstance(value, datetime) else value
        try:
            msgspec.convert(sent, self._types[name], dec_hook=decode_time)
        except msgspec.ValidationError as error:
            return str(wrong_value(str(error), None, name, self._expected, shorten(sent)))
        return None
