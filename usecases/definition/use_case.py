"""A use case, whole, and how one is found by its name."""

import difflib
import importlib
import pkgutil

from pydantic import model_validator

from usecases.definition.behaviours import Direction, Invariance, MinimumFunction, misfits
from usecases.definition.columns import LOG_COLUMNS, Column, Frozen, Layout
from usecases.definition.contest import Gate, Promotion
from usecases.definition.drift import DriftPolicy
from usecases.definition.policies import Approval, LabelPolicy, PredictionLogPolicy, RetrainPolicy
from usecases.definition.recipes import Candidate
from usecases.definition.sources import Source, SqlSource


class UseCaseError(ValueError):
    """A use case is unknown, or its definition contradicts itself."""


class UseCase(Frozen):
    """One prediction problem, whole. ``columns`` are the model's inputs."""

    name: str
    title: str
    question: str
    source: Source | SqlSource
    columns: tuple[Column, ...]
    label: str
    event_time: str
    key: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    gate: Gate
    promotion: Promotion = Promotion()
    drift: DriftPolicy = DriftPolicy()
    labels: LabelPolicy = LabelPolicy()
    retrain: RetrainPolicy = RetrainPolicy()
    approval: Approval = Approval()
    behaviours: tuple[Invariance | Direction | MinimumFunction, ...] = ()
    prediction_log: PredictionLogPolicy = PredictionLogPolicy()
    decision_threshold: float = 0.5
    parity_tolerance: float = 1e-5
    minimum_training_rows: int = 200

    @model_validator(mode="after")
    def _consistent(self) -> "UseCase":
        names = [column.name for column in self.columns]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"columns named twice: {repeated}")
        for reserved in (self.label, self.event_time):
            if reserved in names:
                raise ValueError(f"{reserved!r} is not known when predicting, so it cannot be an input column")
        unknown = sorted(set(self.promotion.slices) - set(names))
        if unknown:
            raise ValueError(f"slices are not columns: {unknown}")
        if strangers := sorted(set(self.prediction_log.leave_out) - set(names)):
            raise ValueError(f"prediction_log.leave_out names {strangers}, which are not input columns; those are {names}")
        if not set(names) - set(self.prediction_log.leave_out):
            raise ValueError("prediction_log.leave_out names every input column: nothing would be left to watch for drift")
        if taken := sorted(set(names) & LOG_COLUMNS):
            raise ValueError(f"the prediction log has columns of its own named {taken}: call the input columns otherwise")
        if problems := self.drift.problems(self.columns):
            raise ValueError("; ".join(problems))
        if not any(candidate.baseline for candidate in self.candidates):
            raise ValueError("no baseline candidate: train would have nothing to fit")
        recipes = [candidate.name for candidate in self.candidates]
        if len(set(recipes)) != len(recipes):
            raise ValueError(f"candidates named twice: {recipes}")
        return self

    @model_validator(mode="after")
    def _behaviours_fit_the_columns(self) -> "UseCase":
        columns = {column.name: column for column in self.columns}
        named = [one.name for one in self.behaviours]
        if repeated := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"behaviours named twice: {repeated}")
        if faults := [f"behaviour {one.name!r}: {fault}" for one in self.behaviours for fault in misfits(one, columns)]:
            raise ValueError("; ".join(faults))
        return self

    @property
    def matrix_columns(self) -> list[Column]:
        """The columns in the order of the encoded matrix: categories first, then numbers."""
        return sorted(self.columns, key=lambda column: column.kind)

    @property
    def layout(self) -> Layout:
        categories = sum(column.kind == "category" for column in self.columns)
        return Layout(categories=tuple(range(categories)), numbers=tuple(range(categories, len(self.columns))))

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    def candidate(self, name: str) -> Candidate:
        """Raises ``UseCaseError`` naming the known candidates."""
        for candidate in self.candidates:
            if candidate.name == name:
                return candidate
        raise UseCaseError(f"{self.name!r} has no candidate {name!r}; it has {[c.name for c in self.candidates]}.")


def known() -> list[str]:
    """Names of the use cases that ``load`` can find, sorted."""
    import usecases

    return sorted(m.name for m in pkgutil.iter_modules(usecases.__path__) if m.name != "definition" and not m.name.startswith("_"))


def load(name: str) -> UseCase:
    """The use case of that name. Raises ``UseCaseError`` that lists the known ones and names the nearest."""
    names = known()
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise UseCaseError(
            f"Unknown use case {name!r}. Known: {', '.join(names)}.{hint} A use case is a file usecases/<name>.py with a constant USE_CASE."
        )
    found = getattr(importlib.import_module(f"usecases.{name}"), "USE_CASE", None)
    if not isinstance(found, UseCase):
        raise UseCaseError(f"usecases/{name}.py has no constant USE_CASE = UseCase(...).")
    if found.name != name:
        raise UseCaseError(f"usecases/{name}.py defines a use case named {found.name!r}: name and file must agree.")
    return found
