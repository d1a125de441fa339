"""The verdicts of earlier windows, as the lake keeps them, for the rule of k windows of n."""

from collections.abc import Iterator

import msgspec

from blocks.lake import Lake
from serving.records.drift import Checked, Finding
from tasks.drift.drivers import notes_of
from tasks.drift.quarantine import is_quarantined
from usecases.definition import kind_of, period_named

# As the service does: a check of another version of Laurel counts as well.
_CHECKED = msgspec.json.Decoder(Checked)
_FARTHEST = 60  # windows that are read at most: none of them may count


def beyond_before(
    store: Lake, use_case: str, champion: str, window: str, windows: int
) -> list[bool]:
    """Whether each of the last ``windows`` windows before ``window`` was beyond the limit, the
    newest last.

    Those of the latest 60 that were judged against the same ``champion`` count, each by its latest
    check: another champion's reference is another question. Windows in quarantine and inconclusive
    ones are left out. Raises ``ValueError`` for a verdict that cannot be read."""
    flags = list[bool]()
    for name, checked in _checks_before(store, use_case, window, windows):
        if checked.champion != champion or checked.verdict.beyond is None:
            continue
        if not is_quarantined(store, use_case, name):
            flags.append(checked.verdict.beyond)
        if len(flags) == windows:
            break
    return flags[::-1]


def sequence_before(store: Lake, use_case: str, champion: str, window: str) -> float:
    """The sequential view's sum at the end of the window before, if that was judged against the
    same ``champion``; 0 otherwise.
    """
    for name in _windows_before(store, use_case, window)[:1]:
        path = f"reports/{use_case}/{name}/verdict.json"
        checked = _read(path, store.read(path))
        if checked.champion == champion:
            return checked.verdict.sequence
    return 0.0


def held_before(store: Lake, use_case: str, window: str, windows: int) -> list[str]:
    """What the answers' intervals or sets held in the last ``windows`` windows before ``window``
    of which that is known, of the latest 60, the newest last: whatever champion answered, since the
    use case promises it. Windows in quarantine are left out. Raises ``ValueError`` for a verdict
    that cannot be read."""
    held = list[str]()
    for name, checked in _checks_before(store, use_case, window, windows):
        performance = checked.performance
        if performance is None or not performance.held:
            continue
        if not is_quarantined(store, use_case, name):
            held.append(performance.held)
        if len(held) == windows:
            break
    return held[::-1]


def last_notes(store: Lake, use_case: str, window: str) -> list[Finding]:
    """The notes of the last check of ``window``; none if it was not checked, or if its verdict
    cannot be read.
    """
    try:
        checked = _CHECKED.decode(store.read(f"reports/{use_case}/{window}/verdict.json"))
    except (FileNotFoundError, msgspec.DecodeError):
        return []
    return notes_of(checked.verdict)


def _checks_before(
    store: Lake, use_case: str, window: str, windows: int
) -> Iterator[tuple[str, Checked]]:
    """Those before ``window``, the latest first, among which ``windows`` are looked for: not all
    of a year, if few of them count."""
    if windows < 1:
        return
    for name in _windows_before(store, use_case, window)[: max(_FARTHEST, 2 * windows)]:
        path = f"reports/{use_case}/{name}/verdict.json"
        yield name, _read(path, store.read(path))


def _windows_before(store: Lake, use_case: str, window: str) -> list[str]:
    """The checked windows before ``window``, the latest first."""
    paths = [path for path in store.list(f"reports/{use_case}") if path.endswith("/verdict.json")]
    # Days and months are checked alike; a month is not the predecessor of one of its days.
    kind, this = kind_of(window), period_named(window)
    checked = [period for path in paths if (period := kind.find(path.split("/")[2]))]
    return [period.name for period in sorted(checked, reverse=True) if period < this]


def _read(path: str, data: bytes) -> Checked:
    try:
        return _CHECKED.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(
            f"{path} cannot be read as the verdict of a drift check: {error}. Check that "
            "window again."
        ) from error
