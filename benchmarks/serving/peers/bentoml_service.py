"""The same pipeline as a BentoML service of one worker, requests that wait being scored together,
as BentoML recommends.

    PIPELINE=pipeline.joblib bentoml serve bentoml_service:Flights

It imports nothing of Laurel, and runs in a virtual environment of its own.
"""

import os
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1)
class Flights:
    def __init__(self) -> None:
        self.pipeline = joblib.load(os.environ["PIPELINE"])

    # Rows and not a DataFrame: BentoML 1.4 fails to batch those.
    @bentoml.api(batchable=True, max_batch_size=1000)
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        scores: list[float] = self.pipeline.predict_proba(pd.DataFrame(rows))[:, 1].tolist()
        return scores
