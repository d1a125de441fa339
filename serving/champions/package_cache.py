"""Cache packages on the service's disk, fetched whole and verified. All workers share the cache.

<folder>/<version>/       package.json and the files that the service reads of it
<folder>/<version>.lock   held (flock) by the worker that fetches the version; the others wait, and
                          find it on the disk
<folder>/champion.json    the last served version, so that a restart without a registry serves it;
                          <role>.json for each other role
<folder>/<role>.next      the version that the role is about to serve: nobody deletes its package
<folder>/look             touched to make every worker look at the alias now
<folder>/told/<role>/     one file for each reported failure
<folder>/reverted/        one file for each reverted rollout, with the reason
"""

import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from blocks.clients.registry import CHAMPION
from serving.champions.use_cases import RECORD_SUFFIX
from serving.errors import PackageError
from serving.outside.registry import Crowned, Registry
from serving.package.manifest import MANIFEST, read_manifest, served_files
from serving.package.model import Package, load

_REPORTS = "told"  # the folder of the reported failures, by role
_REVERTED = "reverted"  # the folder of the rollouts that a guard has ended
_NEXT_SUFFIX = ".next"
_STALE_SECONDS = 3600.0
_LONGEST_FETCH_SECONDS = 60.0
_TURN_SECONDS = 0.02


class LastGood(msgspec.Struct, frozen=True):
    """The last served version; ``previous`` is also kept on disk, for a rollback without a
    download.
    """

    version: str
    sha256: str
    previous: str | None = None


# Made at import, by one thread: msgspec crashes if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_LAST_GOOD = msgspec.json.Decoder(LastGood)


def _read_record(path: Path) -> LastGood | None:
    """The record; ``None`` if there is no readable one."""
    try:
        return _LAST_GOOD.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


class PackageCache:
    """The packages of one use case for one ``role``: each role has its own record, and the packages
    of all records stay on the disk.
    """

    def __init__(self, folder: Path, role: str = CHAMPION) -> None:
        self.folder = folder
        self._record = folder / f"{role}{RECORD_SUFFIX}"
        self._next = folder / f"{role}{_NEXT_SUFFIX}"
        self._look = folder / "look"
        self._reports = folder / _REPORTS / role

    def get(self, crowned: Crowned, registry: Registry) -> Package:
        """The verified package of a version, from disk or from the registry.

        Raises ``PackageError`` for one that must not be served, ``RegistryAway``, or ``OSError`` if
        the disk refuses."""
        if not crowned.package or not crowned.sha256:
            raise PackageError(
                f"Version {crowned.version} has no tags laurel.package and "
                "laurel.package_sha256, so it was not registered by Laurel. "
                "Register it with `evaluate`, or give the alias to a version that has them."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._next.write_text(crowned.version)  # until it is kept
        try:
            if cached_package := self._load(crowned.version, crowned.sha256):
                return cached_package
            with self._turn(crowned.version):
                if cached_package := self._load(crowned.version, crowned.sha256):
                    return cached_package  # another worker has fetched it meanwhile
                return self._fetch(crowned.version, crowned.package, crowned.sha256, registry)
        except BaseException:
            self._next.unlink(missing_ok=True)
            raise

    def _load(self, version: str, sha256: str) -> Package | None:
        """The package on this disk; ``None`` if it is absent, damaged, or registered again with the
        same number.
        """
        target = self.folder / version
        try:
            return load(target, sha256) if target.is_dir() else None
        except PackageError:
            return None

    def _fetch(self, version: str, package: str, sha256: str, registry: Registry) -> Package:
        target = self.folder / version
        partial = self.folder / f"{version}.{secrets.token_hex(4)}.partial"
        partial.mkdir(parents=True)
        try:
            registry.download(package, (MANIFEST,), partial)
            manifest = read_manifest((partial / MANIFEST).read_bytes(), sha256)
            registry.download(package, served_files(manifest), partial)
            loaded = load(partial, sha256)
            if target.is_dir():
                shutil.rmtree(target)
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return loaded

    @contextmanager
    def _turn(self, version: str) -> Iterator[None]:
        """Fetch a version alone. After too long a wait for another worker, fetch it as well:
        fetching twice does no harm.
        """
        end = time.monotonic() + _LONGEST_FETCH_SECONDS
        path = self.folder / f"{version}.lock"
        with path.open("w") as lock:
            while time.monotonic() < end:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(_TURN_SECONDS)
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def last_good(self) -> tuple[LastGood, Package] | None:
        """The last served version, verified again; ``None`` if there is none. Raises
        ``PackageError`` if it is damaged.
        """
        try:
            last = _LAST_GOOD.decode(self._record.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise PackageError(f"{self._record.name} cannot be read: {error}.") from error
        return last, load(self.folder / last.version, last.sha256)

    def path_of(self, version: str) -> Path:
        """The folder of a version's package, if it is on this disk."""
        return self.folder / version

    def keep(self, version: str, sha256: str) -> None:
        """Record the role's version; delete all packages but each role's next, current and previous
        one.

        Raises ``OSError``, also if another role's swap has deleted the package meanwhile."""
        with self._alone():
            if not (self.folder / version).is_dir():
                raise FileNotFoundError(f"its package in {self.folder} was deleted meanwhile")
            before = _read_record(self._record)
            previous = None
            if before is not None:
                previous = before.version if before.version != version else before.previous
            partial = self._record.with_suffix(f".{secrets.token_hex(4)}.partial")
            partial.write_bytes(msgspec.json.encode(LastGood(version, sha256, previous)))
            partial.replace(self._record)
            self._next.unlink(missing_ok=True)
            self._delete_others()

    def forget(self) -> None:
        """Remove the role's record. The next swap of any role deletes its packages."""
        self._record.unlink(missing_ok=True)
        self._next.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock the packages of all roles and workers."""
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _delete_others(self) -> None:
        """Delete the packages that are no role's next, current or previous one."""
        records = map(_read_record, self.folder.glob(f"*{RECORD_SUFFIX}"))
        versions = {name for last in records if last for name in (last.version, last.previous)}
        for path in self.folder.glob(f"*{_NEXT_SUFFIX}"):
            with suppress(FileNotFoundError):
                versions.add(path.read_text())
        for folder in self.folder.iterdir():
            if not folder.is_dir() or folder.name in versions | {_REPORTS, _REVERTED}:
                continue
            # Another worker may be downloading: its folder is kept until it is old.
            fresh = (
                folder.name.endswith(".partial")
                and time.time() - folder.stat().st_mtime < _STALE_SECONDS
            )
            if not fresh:
                shutil.rmtree(folder, ignore_errors=True)

    def request_look(self) -> None:
        """Let every worker look at the alias now. Raises ``OSError``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._look.touch()
        now = time.time_ns()
        # the kernel's own stamps are milliseconds apart: they would hide a second request
        os.utime(self._look, ns=(now, now))

    def look_requested_at(self) -> int:
        """The time of the last request (ns), 0 without one: a changed time means look now."""
        try:
            return self._look.stat().st_mtime_ns
        except OSError:
            return 0

    def revert(self, rollout: str, reason: str) -> bool:
        """End a rollout for every worker, also after a restart; whether no other has. Raises
        ``OSError``."""
        path = self._reverted(rollout)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x") as file:
                file.write(reason)
        except FileExistsError:
            return False
        return True

    def why_reverted(self, rollout: str) -> str | None:
        """The reason; ``None`` if the rollout goes on."""
        try:
            return self._reverted(rollout).read_text()
        except OSError:
            return None

    def _reverted(self, rollout: str) -> Path:
        return self.folder / _REVERTED / _name_of(rollout)

    def claim_report(self, failure: str) -> bool:
        """Whether this worker is the first to claim the report of ``failure``, and must send it.
        Raises ``OSError``.
        """
        self._reports.mkdir(parents=True, exist_ok=True)
        try:
            os.close(
                os.open(
                    self._reports / _name_of(failure),
                    os.O_CREAT | os.O_EXCL,
                    0o600,
                )
            )
        except FileExistsError:
            return False
        return True

    def forget_reports(self) -> None:
        """Forget reported failures: after a success the same failure is news again."""
        shutil.rmtree(self._reports, ignore_errors=True)


def _name_of(text: str) -> str:
    """A file's name for any text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
