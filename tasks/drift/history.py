"""The verdicts of earlier windows, as the lake keeps them, for the rule of k windows of n."""

import msgspec

from blocks.lake import Lake
from serving.records.drift import Checked
from tasks.drift.quarantine import quarantined

# As the service does: a check of another version of Laurel counts as well.
_CHECKED = msgspec.json.Decoder(Checked)


def beyond_before(
    store: Lake, use_case: str, champion: str, window: str, windows: int
) -> list[bool]:
    """Whether each of the last ``windows`` windows before ``window`` was beyond the limit, the
    newest last.

    Those that were judged against the same ``champion`` count, each by its latest check: another
    champion's reference is another question. Windows in quarantine and inconclusive ones are left
    out. Raises ``ValueError`` for a verdict that cannot be read."""
    if windows < 1:
        return []
    left_out, found = quarantined(store, use_case), list[bool]()
    for path in sorted(_verdicts(store, use_case, window), reverse=True):
        checked = _read(path, store.read(path))
        if (
            checked.champion != champion
            or path.split("/")[2] in left_out
            or checked.verdict.beyond is None
        ):
            continue
        found.append(checked.verdict.beyond)
        if len(found) == windows:
            break
    return found[::-1]


def _verdicts(store: Lake, use_case: str, window: str) -> list[str]:
    paths = [path for path in store.list(f"reports/{use_case}") if path.endswith("/verdict.json")]
    # Days and months are checked alike; a month is not the predecessor of one of its days.
    return [
        path
        for path in paths
        if len(path.split("/")[2]) == len(window) and path.split("/")[2] < window
    ]


def _read(path: str, data: bytes) -> Checked:
    try:
        return _CHECKED.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(
            f"{path} cannot be read as the verdict of a drift check: {error}. Check that "
            "window again."
        ) from error
