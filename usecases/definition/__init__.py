"""What a use case is: the one object that every flow, the service and the drift check read.

A use case is a module of the package ``usecases`` with a constant ``USE_CASE``. ``load("flights")``
finds it. All objects are frozen and refuse unknown fields, so a typo fails when the module is
imported."""

from usecases.definition.behaviours import ColumnChange, Direction, Invariance, MinimumFunction
from usecases.definition.columns import LOG_COLUMNS, Column, Frozen, Layout, trait_columns
from usecases.definition.contest import Gate, Guard, Promotion
from usecases.definition.drift import SCORE, DriftPolicy, usual_method
from usecases.definition.files import file_of, folder_of, known, load, load_all, place_of
from usecases.definition.kinds import DistanceMethod
from usecases.definition.metrics import (
    ACCURACY,
    AVERAGE_PRECISION,
    BALANCED_ACCURACY,
    BRIER,
    CALIBRATION_ERROR,
    LOG_LOSS,
    MACRO_F1,
    MAE,
    MAPE,
    MEDIAN_ABSOLUTE_ERROR,
    METRICS,
    POISSON_DEVIANCE,
    R2,
    RMSE,
    ROC_AUC,
    Metric,
    pinball,
    tweedie_deviance,
)
from usecases.definition.outputs import Output
from usecases.definition.period_kinds import MONTHS, Period, PeriodKind
from usecases.definition.periods import (
    holdout_named,
    kind_of,
    last_of,
    names_before,
    period_named,
    periods_of,
    window_kind,
)
from usecases.definition.policies import (
    Approval,
    EventTimePolicy,
    LabelPolicy,
    PredictionLogPolicy,
    RetrainPolicy,
)
from usecases.definition.recipes import Candidate, Range, Search
from usecases.definition.rollouts import AB, Canary, Immediate, Reward, Rollout, Shadow, Stage
from usecases.definition.sampling import Sample
from usecases.definition.sources import (
    FileSource,
    FrameSource,
    Source,
    SourceAway,
    SourceError,
    SqlSource,
    TableSource,
)
from usecases.definition.targets import Binary, Classes, Number, Target
from usecases.definition.use_case import ARRIVED, ROW_ID, UseCase, UseCaseError

__all__ = [
    "AB",
    "ACCURACY",
    "Approval",
    "ARRIVED",
    "AVERAGE_PRECISION",
    "BALANCED_ACCURACY",
    "Binary",
    "BRIER",
    "CALIBRATION_ERROR",
    "Canary",
    "Candidate",
    "Classes",
    "Column",
    "ColumnChange",
    "Direction",
    "DistanceMethod",
    "DriftPolicy",
    "EventTimePolicy",
    "file_of",
    "FileSource",
    "folder_of",
    "FrameSource",
    "Frozen",
    "Gate",
    "Guard",
    "holdout_named",
    "Immediate",
    "Invariance",
    "kind_of",
    "known",
    "LabelPolicy",
    "last_of",
    "Layout",
    "load",
    "load_all",
    "LOG_COLUMNS",
    "LOG_LOSS",
    "MACRO_F1",
    "MAE",
    "MAPE",
    "MEDIAN_ABSOLUTE_ERROR",
    "Metric",
    "METRICS",
    "MinimumFunction",
    "MONTHS",
    "names_before",
    "Number",
    "Output",
    "Period",
    "period_named",
    "PeriodKind",
    "periods_of",
    "pinball",
    "place_of",
    "POISSON_DEVIANCE",
    "PredictionLogPolicy",
    "Promotion",
    "R2",
    "Range",
    "RetrainPolicy",
    "RMSE",
    "ROC_AUC",
    "Sample",
    "Reward",
    "Rollout",
    "ROW_ID",
    "SCORE",
    "Search",
    "Shadow",
    "Source",
    "SourceAway",
    "SourceError",
    "SqlSource",
    "Stage",
    "TableSource",
    "Target",
    "trait_columns",
    "tweedie_deviance",
    "UseCase",
    "UseCaseError",
    "usual_method",
    "window_kind",
]
