"""Windows of the prediction log whose data were broken: recorded in the lake, and left out of what
is decided from the log.

    reports/<use case>/<window>/quarantine.json     which columns, why, and since when; ``lifted``
                                                    once a later check finds it sound

``is_quarantined`` is asked by whoever looks at more than one window. The data themselves stay where
they are."""

from blocks.lake import Lake
from usecases.definition.columns import Frozen

_NAME = "quarantine.json"


class Quarantine(Frozen):
    """Why a window is left out. ``lifted`` is the time (ISO 8601, UTC) from which it counts
    again.
    """

    use_case: str
    window: str
    columns: list[str]
    reasons: list[str]
    champion: str
    since: str
    by: str
    lifted: str | None = None


def read(store: Lake, use_case: str, window: str) -> Quarantine | None:
    """None for a window that never was in quarantine. Raises pydantic's ``ValidationError`` for a
    record that cannot be read.
    """
    try:
        return Quarantine.model_validate_json(store.read(_path(use_case, window)))
    except FileNotFoundError:
        return None


def put(store: Lake, quarantine: Quarantine) -> None:
    """A window that is there already keeps the time of the first."""
    before = read(store, quarantine.use_case, quarantine.window)
    since = before.since if before and before.lifted is None else quarantine.since
    _write(store, quarantine.model_copy(update={"since": since}))


def lift(store: Lake, use_case: str, window: str, at: str) -> bool:
    """Lift the quarantine of a window. Returns whether there was one."""
    record = read(store, use_case, window)
    if record is None or record.lifted is not None:
        return False
    _write(store, record.model_copy(update={"lifted": at}))
    return True


def is_quarantined(store: Lake, use_case: str, window: str) -> bool:
    """Whether to leave out the window."""
    record = read(store, use_case, window)
    return record is not None and record.lifted is None


def _write(store: Lake, quarantine: Quarantine) -> None:
    store.write(
        _path(quarantine.use_case, quarantine.window), quarantine.model_dump_json(indent=1).encode()
    )


def _path(use_case: str, window: str) -> str:
    return f"reports/{use_case}/{window}/{_NAME}"
