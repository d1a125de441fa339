"""Large files in MLflow that are older than they are kept. Their runs and versions stay, with
parameters, metrics and tags, and say when the files went."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from blocks.clients.registry import (
    CHALLENGER,
    CHAMPION,
    PACKAGE_TAG,
    ROLLOUT,
    TIDIED_TAG,
    RegistryApi,
    tags_of,
)
from blocks.registry import ModelRegistry, ModelVersion
from serving.records.ledger import Entry
from tasks.retention.lake_objects import ACTED_ON
from tasks.retention.removable import Removable

PAGE = "drift_report.html"
NEWEST_VERSIONS = 5  # the latest versions keep their packages, whatever their age
_NOTE = "mlflow.note.content"


@dataclass(frozen=True)
class _Files:
    """The file at the URI ``place`` of a ``run``, whose page says ``note``."""

    place: str
    run: str
    note: str


def old_pages(models: ModelRegistry, use_case: str, days: int, now: datetime) -> Removable:
    """Pages of drift checks. A page stays if its verdict was acted on and no later check of the
    same window and champion came to the same.
    """
    before = int((now - timedelta(days)).timestamp() * 1000)
    with models.api(f"search drift checks of {use_case!r}") as api:
        old = list(_old_pages(api, f"{use_case}-drift", before))

    def remove() -> None:
        with models.api(f"remove pages of drift checks of {use_case!r}") as api:
            for files in old:
                api.delete_files(files.place)
                api.tag_run(files.run, TIDIED_TAG, now.isoformat(timespec="seconds"))
                words = f"Its page was removed on {now:%Y-%m-%d}, after {days} days."
                api.tag_run(files.run, _NOTE, f"{words}\n\n{files.note}")

    return Removable("report_pages", days, len(old), None, remove)


def _old_pages(api: RegistryApi, experiment: str, before: int) -> Iterator[_Files]:
    seen: set[tuple[str, ...]] = set()
    # The newest first. What went is not asked for again, year after year.
    for run in api.search_runs(experiment, before, without_tag=TIDIED_TAG):
        tags = tags_of(run.get("data", {}))
        params = {one["key"]: one.get("value", "") for one in run["data"].get("params", [])}
        verdict = tags.get("laurel.verdict", "")
        check = (params.get("window", ""), params.get("champion", ""), verdict)
        is_last = check not in seen
        seen.add(check)
        place = f"{run['info']['artifact_uri']}/{PAGE}"
        if (is_last and verdict in ACTED_ON) or not api.serves(place):
            continue
        yield _Files(place, run["info"]["run_id"], tags.get(_NOTE, ""))


def old_challengers(
    models: ModelRegistry,
    use_case: str,
    read_ledger: Callable[[], list[Entry]],
    days: int,
    now: datetime,
) -> Removable:
    """Packages of versions that never served. Versions with an alias, those that the ledger crowned
    or sent into a rollout, and the newest ones keep theirs.
    """
    holders = [models.at(use_case, alias) for alias in (CHAMPION, CHALLENGER, ROLLOUT)]
    kept = {holder.number for holder in holders if holder}
    old = [
        version
        for version in models.versions(use_case)[NEWEST_VERSIONS:]
        if version.number not in kept and _is_old(version, now - timedelta(days))
    ]
    if old:
        served = _served(read_ledger())
        old = [version for version in old if version.number not in served]

    def remove() -> None:
        with models.api(f"remove packages of {use_case!r}") as api:
            for version in old:
                # The tag comes first: a package that is half there must not be loaded.
                told = {TIDIED_TAG: now.isoformat(timespec="seconds")}
                api.tag_version(use_case, version.number, told)
                api.delete_files(version.tags[PACKAGE_TAG])

    return Removable("challengers", days, len(old), None, remove)


def _served(entries: list[Entry]) -> set[str | None]:
    moved = {entry.version for entry in entries if entry.kind in ("crown", "rollback", "rollout")}
    return moved | {entry.champion for entry in entries}


def _is_old(version: ModelVersion, before: datetime) -> bool:
    package = version.tags.get(PACKAGE_TAG, "")
    created = datetime.fromisoformat(version.created) if version.created else None
    return (
        TIDIED_TAG not in version.tags
        and RegistryApi.serves(package)
        and created is not None
        and created < before
    )
