"""The datasets of an MLflow run: which periods of which version it learned, or was judged on. The
rows are not copied."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

_DIGEST_CHARACTERS = 36  # MLflow keeps no more
_TAG_CHARACTERS = 500


@dataclass(frozen=True)
class RunDataset:
    """Periods of the dataset ``version``, whose manifest is at ``url``. ``digests`` are the SHA-256
    of each period's content; ``rows`` are those that were used."""

    version: str
    url: str
    digests: Mapping[str, str]
    rows: int
    context: Literal["training", "evaluation"]

    def as_input(self) -> "DatasetInput":
        """MLflow's form. Other periods of a version are another dataset: the digest is theirs."""
        from mlflow.data.dataset_source_registry import resolve_dataset_source
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a folder, which MLflow knows in two ways
            source = resolve_dataset_source(self.url)
        periods = ", ".join(self.digests)
        digest = hashlib.sha256(" ".join(self.digests.values()).encode()).hexdigest()
        dataset = Dataset(
            self.version,
            digest[:_DIGEST_CHARACTERS],
            source._get_source_type(),
            source.to_json(),
            profile=json.dumps({"rows": self.rows, "periods": len(self.digests)}),
        )
        tags = {MLFLOW_DATASET_CONTEXT: self.context, "laurel.periods": periods[:_TAG_CHARACTERS]}
        return DatasetInput(dataset, [InputTag(key, value) for key, value in tags.items()])
