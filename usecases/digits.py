"""Which digit did somebody write? Predicted from a grey image of 8 x 8 pixels.

1,797 digits of 13 people (Alpaydin & Kaynak 1998), from scikit-learn. The images have no time, so
this file makes one up: it cuts them, in their order, into the twelve months of 2024, and from June
on the scanner fails. It is badly lit in June and noisy in July, and from August on its feeder turns
the paper. That is the change that the loop must notice; the data themselves have none."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from usecases.definition import (
    ACCURACY,
    LOG_LOSS,
    Candidate,
    Classes,
    Column,
    DriftPolicy,
    EventTimePolicy,
    Gate,
    Guard,
    LabelPolicy,
    Layout,
    Promotion,
    Range,
    RetrainPolicy,
    Search,
    UseCase,
)

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

_MONTHS = 12
_DARK, _NOISY, _TURNED = 6, 7, 8  # the last from that month on


class Scanner:
    """The digits by month, each a PNG."""

    def periods(self) -> list[str]:
        return [f"2024-{month:02d}" for month in range(1, _MONTHS + 1)]

    def read(self, period: str) -> "pl.DataFrame":
        import numpy as np
        import polars as pl
        from sklearn.datasets import load_digits

        digits, month = load_digits(), int(period[-2:])
        rows = np.array_split(np.arange(len(digits.target)), _MONTHS)[month - 1]
        chance = np.random.default_rng(month)
        # 28 days of equal length: the order within a month is that of the data.
        minutes = np.linspace(0, 28 * 24 * 60, len(rows), endpoint=False).astype(int)
        return pl.DataFrame(
            {
                "scan": rows,
                "scanned_at": pl.Series([f"{period}-01T00:00:00"] * len(rows)).str.to_datetime()
                + pl.Series(minutes * 60_000_000).cast(pl.Duration("us")),
                "picture": [scan(digits.images[row], month, chance) for row in rows],
                "digit": [str(digits.target[row]) for row in rows],
            }
        )


def scan(strokes: "np.ndarray", month: int, chance: "np.random.Generator") -> bytes:
    """A PNG of ``strokes`` ``(8, 8)``, 0 to 16, white on black, as the scanner is in that month."""
    import numpy as np
    from PIL import Image

    light = strokes * (255 / 16)
    if month >= _TURNED:
        page = Image.fromarray(light.astype(np.float32))
        light = np.asarray(page.rotate(25, resample=Image.Resampling.BICUBIC), dtype=np.float64)
    elif month == _NOISY:
        light = light + chance.normal(0, 40, light.shape)
    elif month == _DARK:
        light = 60 + light * 0.5
    file = io.BytesIO()
    Image.fromarray(light.clip(0, 255).round().astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def logistic(params: Mapping[str, Any], layout: Layout, seed: int) -> "LogisticRegression":
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=500, random_state=seed, **params)


def network(params: Mapping[str, Any], layout: Layout, seed: int) -> "MLPClassifier":
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(tol=1e-3, random_state=seed, **params)


USE_CASE = UseCase(
    name="digits",
    title="Handwritten digits",
    question="Which digit did somebody write?",
    source=Scanner(),
    columns=(
        Column(
            name="picture",
            kind="image",
            size=(8, 8),
            channels=1,
            description="a digit, light on dark, that fills the image",
        ),
    ),
    target=Classes(label="digit", classes=tuple("0123456789")),
    event_time="scanned_at",
    key=("scan",),
    event_times=EventTimePolicy(past_days=None, future_days=31),
    candidates=(
        Candidate(name="logistic", build=logistic, params={"C": 2.0}),
        Candidate(
            name="network",
            build=network,
            baseline=False,
            params={"max_iter": 200, "alpha": 0.1},
            search=Search(
                space={
                    "alpha": Range(low=0.001, high=3.0, log=True),
                    "learning_rate_init": Range(low=0.001, high=0.01, log=True),
                },
                resource=("max_iter", (50, 100, 200)),
                trials=6,
            ),
        ),
    ),
    # A month of turned digits is learned from one other: far better than chance, whose loss is 2.3.
    gate=Gate(metric=LOG_LOSS, threshold=1.0),
    # A month has 150 digits. And who learns turned digits gains more than a usual world allows.
    promotion=Promotion(
        minimum_rows=100,
        minimum_class_rows=5,
        suspicious_share=0.9,
        guards=(Guard(metric=ACCURACY, tolerance=0.03),),
    ),
    drift=DriftPolicy(minimum_rows=100, minimum_days=20),
    labels=LabelPolicy(rows=100),
    # Its year is replayed in minutes.
    retrain=RetrainPolicy(cooldown_hours=0, runs_per_day=24),
)
