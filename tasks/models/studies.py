"""The record of a search: Optuna's study in a database, so that a search that was killed goes on.

A search is the same each time for the same data, code and seed. So the record holds what trials
reached, and a search that is started again asks the same trials in the same order, but fits only
those that the record does not have. Nothing of a killed run must be mended: a trial enters the
record when it has ended."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.models.code import code_of_trials
from tasks.models.fingerprint import digest_of
from usecases.definition import Candidate, UseCase

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

_NUMBER, _KILLS, _OPENED, _REASON = (
    f"laurel:{name}" for name in ("number", "kills", "opened", "reason")
)
_CONNECT_SECONDS = 5


@dataclass(frozen=True)
class Trial:
    """``score`` on the inner split at the last rung it reached, and the ``scores`` at each rung;
    ``pruned`` trials stopped before the last. ``failed`` says why there is no score that counts.
    """

    number: int
    params: Mapping[str, Any]
    score: float
    pruned: bool
    scores: Mapping[int, float] = field(default_factory=dict)
    failed: str = ""


class StudiesAway(ConnectionError):
    """The database of searches cannot be used. The message shows no password."""


class Record:
    """What is known of a search. This one forgets everything."""

    @property
    def size(self) -> int:
        """How many trials were there when the record was opened."""
        return 0

    def known(self, number: int, params: Mapping[str, Any]) -> Trial | None:
        """The trial, if it has ended with the same parameters."""

    def kills(self, number: int) -> int:
        """How many runs were killed while they fitted this trial."""
        return 0

    def begin(self, number: int) -> None:
        """A trial is fitted from now on."""

    def end(self, trial: Trial, space: "Mapping[str, BaseDistribution]") -> None:
        """A trial has ended. It is kept soon, and at the latest when the record is closed."""


class StudyRecord(Record):
    """A study of Optuna, which a thread writes. If the database goes away, the search goes on, and
    what ended since is not kept.
    """

    def __init__(self, study: "Study", counts_kills: bool, warn: Callable[[str], None]) -> None:
        trials = study.get_trials(deepcopy=False)
        self._known = {
            trial.user_attrs[_NUMBER]: _as_trial(trial)
            for trial in trials
            if _NUMBER in trial.user_attrs
        }
        kills = study.user_attrs.get(_KILLS, {})
        self._kills = {int(number): count for number, count in kills.items()}
        self._study, self._counts_kills, self._warn = study, counts_kills, warn
        self._begun = set[int]()
        self._ended: list[FrozenTrial] = []
        self._written, self._lock = kills, threading.Lock()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="study")
        self._works = True

    @property
    def size(self) -> int:
        return len(self._known)

    def known(self, number: int, params: Mapping[str, Any]) -> Trial | None:
        trial = self._known.get(number)
        return trial if trial and trial.params == dict(params) else None

    def kills(self, number: int) -> int:
        return self._kills.get(number, 0)

    def begin(self, number: int) -> None:
        if self._counts_kills:
            with self._lock:
                self._begun.add(number)
            self._writer.submit(self._write)

    def end(self, trial: Trial, space: "Mapping[str, BaseDistribution]") -> None:
        known = self.known(trial.number, trial.params)
        with self._lock:
            if known is None or known.scores.keys() != trial.scores.keys():
                self._ended.append(_as_frozen(trial, space))
            self._begun.discard(trial.number)
            self._kills.pop(trial.number, None)
        self._writer.submit(self._write)

    def settled(self) -> None:
        """Wait until all of it is written."""
        self._writer.submit(lambda: None).result()

    def close(self) -> None:
        """Keep what has ended. A run that comes this far was not killed."""
        with self._lock:
            self._begun.clear()
        self._writer.submit(self._write)
        self._writer.shutdown()

    def _write(self) -> None:
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        with self._lock:
            ended, self._ended = self._ended, []
            flying = {number: self._kills.get(number, 0) + 1 for number in self._begun}
            kills = {str(number): count for number, count in {**self._kills, **flying}.items()}
        if not self._works:
            return
        try:
            for trial in ended:
                self._study.add_trial(trial)
            if kills != self._written:
                self._study.set_user_attr(_KILLS, kills)
                self._written = kills
        except (StorageInternalError, SQLAlchemyError) as error:
            self._works = False
            self._warn(
                f"The database of searches is away ({_in_short(error)}): the search goes on, but "
                "if this run is killed, its further trials are lost."
            )


def study_name(case: UseCase, candidate: Candidate, *rest: Any) -> str:
    """The name of a search: of the use case, its candidate, its code, and ``rest``, which JSON can
    hold, such as data and seed. Whatever changes, the search is another one."""
    import optuna

    code = {**code_of_trials(case.name), "optuna": optuna.__version__}
    metric = case.gate.metric.model_dump(mode="json")
    return f"{case.name}/{candidate.name}/{digest_of([code, metric, *rest])}"


@contextmanager
def open_record(
    url: str | None,
    name: str,
    higher_is_better: bool,
    warn: Callable[[str], None],
    counts_kills: bool = True,
) -> Iterator[Record]:
    """The record ``name`` in the database at the SQLAlchemy URL. Without a database, or if it does
    not answer, one that forgets: the search finds the same.

    ``counts_kills``: a trial may take the memory of this very process, so that it is killed."""
    record = _open(url, name, higher_is_better, warn, counts_kills) if url else None
    if record is None:
        yield Record()
        return
    try:
        yield record
    finally:
        record.close()


def _open(
    url: str, name: str, higher_is_better: bool, warn: Callable[[str], None], counts_kills: bool
) -> StudyRecord | None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with _reached():
            study = optuna.create_study(
                storage=_storage(url),
                study_name=name,
                direction="maximize" if higher_is_better else "minimize",
                load_if_exists=True,
            )
            study.set_user_attr(_OPENED, datetime.now(UTC).isoformat())
            return StudyRecord(study, counts_kills, warn)
    except StudiesAway as error:
        warn(
            f"{error} The search runs without it and finds the same, but begins anew if this run "
            "is killed."
        )
        return None


def find_old_studies(url: str, use_case: str, days: int, now: datetime) -> list[str]:
    """The names of the use case's studies that no run has opened for ``days``. Raises
    ``StudiesAway``."""
    before = now - timedelta(days)
    if url.startswith("sqlite") and not Path(url.partition(":///")[2]).exists():
        return []
    with _reached():
        return [
            study.study_name
            for study in _storage(url).get_all_studies()
            if study.study_name.startswith(f"{use_case}/")
            and datetime.fromisoformat(study.user_attrs.get(_OPENED, before.isoformat())) <= before
        ]


def remove_studies(url: str, names: list[str]) -> None:
    """Delete these studies; one that is gone already does no harm. Raises ``StudiesAway``."""
    import optuna

    with _reached():
        storage = _storage(url)
        for name in names:
            with suppress(KeyError):  # another run was quicker
                optuna.delete_study(study_name=name, storage=storage)


@contextmanager
def _reached() -> Iterator[None]:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError, ImportError, RuntimeError) as error:
        raise StudiesAway(
            f"The database of searches, LAUREL_SEARCH_DATABASE, cannot be used: {_in_short(error)}."
        ) from None


def _storage(url: str) -> "RDBStorage":
    from optuna.storages import RDBStorage

    waits = {"sqlite": {"timeout": 30}, "postgresql": {"connect_timeout": _CONNECT_SECONDS}}
    arguments: dict[str, Any] = waits.get(url.partition(":")[0].partition("+")[0], {})
    return RDBStorage(url, engine_kwargs={"connect_args": arguments, "pool_pre_ping": True})


def _in_short(error: Exception) -> str:
    """The first line; of a URL that cannot be used only the kind of error, since it may show it."""
    from sqlalchemy.exc import DBAPIError

    cause = error.__cause__ if isinstance(error.__cause__, DBAPIError) else error
    if not isinstance(cause, DBAPIError):
        return type(cause).__name__
    return f"{type(cause).__name__}: {str(cause.orig).strip().splitlines()[0]}"


def _as_trial(trial: "FrozenTrial") -> Trial:
    from optuna.trial import TrialState

    scores = trial.intermediate_values
    return Trial(
        trial.user_attrs[_NUMBER],
        dict(trial.params),
        scores[max(scores)] if scores else float("nan"),
        trial.state == TrialState.PRUNED,
        scores,
        trial.user_attrs.get(_REASON, ""),
    )


def _as_frozen(trial: Trial, space: "Mapping[str, BaseDistribution]") -> "FrozenTrial":
    from optuna.trial import TrialState, create_trial

    state = TrialState.PRUNED if trial.pruned else TrialState.COMPLETE
    return create_trial(
        state=TrialState.FAIL if trial.failed else state,
        params=dict(trial.params),
        distributions=dict(space),
        value=None if trial.failed or trial.pruned else trial.score,
        intermediate_values=dict(trial.scores),
        user_attrs={_NUMBER: trial.number, **({_REASON: trial.failed} if trial.failed else {})},
    )
