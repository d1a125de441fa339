"""The checks of ``laurel doctor``. Each says what it found, and the command that mends it; a check
that cannot be made is *unknown*, never fine."""

import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from packaging.requirements import InvalidRequirement, Requirement

from laurel.parts import StackPart, read_parts
from laurel.place import is_installed, sources
from laurel.servers import service_api

if TYPE_CHECKING:
    from blocks.settings import Settings

Finding = Literal["fine", "look", "wrong", "unknown"]
LEAST_GIGABYTES, FEW_GIGABYTES = 1.0, 5.0
LARGEST_SKEW_SECONDS = 5.0
CERTIFICATE_DAYS = 14


@dataclass(frozen=True)
class Check:
    """``subject`` in a word; ``remedy`` is a command, empty if none is needed."""

    subject: str
    finding: Finding
    sentence: str
    remedy: str = ""


def check_everything(settings: "Settings") -> Iterator[Check]:
    """Each check as soon as it is made."""
    yield check_disk(settings.state)
    yield from guarded("versions", lambda: check_versions(sources()))
    yield from guarded("use cases", check_use_cases)
    parts = {part.name: part for part in read_parts(settings)}
    if all(part.answers is False for part in parts.values() if part.name in ("prefect", "service")):
        yield from guarded("ports", lambda: check_ports(settings))
        yield Check("stack", "wrong", "it is down", "laurel up")
        for subject in ("clock", "blocks", "deployments", "ledgers"):
            yield Check(subject, "unknown", "the stack is down")
        return
    yield from (check_part(part) for part in parts.values())
    yield from guarded("clock", lambda: [check_clock(settings.serving_base_url)])
    yield from guarded("certificates", lambda: check_certificates(settings))
    if parts["prefect"].answers:
        yield from guarded("deployments", lambda: check_deployments(settings))
        yield from guarded("blocks", lambda: check_blocks(settings))
    else:
        yield Check("deployments", "unknown", "Prefect does not answer", "laurel logs prefect")
        yield Check("blocks", "unknown", "Prefect does not answer", "laurel logs prefect")
    yield from guarded("ledgers", lambda: check_crowns(settings))


def guarded(subject: str, check: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """The findings of ``check``; whatever keeps it from looking makes it *unknown*."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - a broken check must not hide the others
        reason = " ".join(str(error).split()) or type(error).__name__
        yield Check(subject, "unknown", f"it cannot be checked: {reason[:300]}")


def check_disk(state: Path) -> Check:
    """The room where the stack's data are."""
    folder = next(path for path in (state, *state.resolve().parents) if path.exists())
    free = shutil.disk_usage(folder).free / 1e9
    room = f"{free:.1f} GB free for {state}"
    if free < LEAST_GIGABYTES:
        return Check("disk", "wrong", room, "laurel tidy")
    return Check("disk", "look" if free < FEW_GIGABYTES else "fine", room)


def check_ports(settings: "Settings") -> Iterator[Check]:
    """Of a stack that is down: may its servers listen where the settings say."""
    from deployments.local import ports
    from deployments.servers.errors import PortError

    try:
        ports.check(settings)
    except PortError as error:
        *problems, way = str(error).splitlines()
        for problem in problems:
            yield Check("ports", "wrong", problem, way.strip().replace("make up", "laurel up"))
        return
    yield Check("ports", "fine", "all are free")


def check_part(part: StackPart) -> Check:
    """One server, or the worker."""
    if part.answers:
        return Check(part.name, "fine", f"answers at {part.url}")
    logs = {"lake": "seaweedfs"}.get(part.name, part.name)
    if part.answers is None:
        return Check(part.name, "unknown", f"{part.note}: {part.url}")
    return Check(part.name, "wrong", f"{part.note}: {part.url}", f"laurel logs {logs}; laurel up")


def check_versions(home: Path) -> Iterator[Check]:
    """The installed packages against ``requirements.lock``, and whether those are there that
    ``pyproject.toml`` names: model libraries and the tests' tools are a person's choice."""
    locked = read_lock((home / "requirements.lock").read_text(encoding="utf-8"))
    if not locked:
        yield Check("versions", "unknown", f"{home / 'requirements.lock'} lists no packages")
        return
    with (home / "pyproject.toml").open("rb") as file:
        needed = [Requirement(one) for one in tomllib.load(file)["project"]["dependencies"]]
    faults, count = [], 0
    for requirement in locked:
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            continue
        count += 1
        if installed not in requirement.specifier:
            faults.append(f"{requirement.name} {installed}, not {requirement.specifier}")
    faults += [f"{one.name} is missing" for one in needed if _applies(one) and _is_missing(one)]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        way = "pip install -r requirements.txt" if is_installed() else "make venv"
        yield Check("versions", "wrong", f"{'; '.join(faults[:3])}{more}", way)
    else:
        python = ".".join(map(str, sys.version_info[:3]))
        yield Check("versions", "fine", f"{count} packages as locked, Python {python}")


def read_lock(text: str) -> list[Requirement]:
    """The packages that a lock pins for this system."""
    found = []
    for line in text.splitlines():
        try:
            found.append(Requirement(line.partition("#")[0].strip()))
        except InvalidRequirement:
            continue
    return [requirement for requirement in found if _applies(requirement)]


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate()


def _is_missing(requirement: Requirement) -> bool:
    try:
        version(requirement.name)
    except PackageNotFoundError:
        return True
    return False


def check_clock(url: str) -> Check:
    """This machine's clock against the service's, which may be on another one."""
    import httpx

    before = time.time()
    answer = httpx.get(f"{url}/health", timeout=5, trust_env=False)
    here = (before + time.time()) / 2
    if "date" not in answer.headers:
        return check_time(here)
    # A header has whole seconds: half of one is the best guess.
    skew = parsedate_to_datetime(answer.headers["date"]).timestamp() + 0.5 - here
    if abs(skew) > LARGEST_SKEW_SECONDS + 0.5:
        sentence = (
            f"this machine is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} the service"
        )
        return Check("clock", "wrong", sentence, "timedatectl set-ntp true")
    return check_time(here)


def check_time(seconds: float) -> Check:
    """A clock before this file was written has lost its battery."""
    written = Path(__file__).stat().st_mtime
    if seconds < written - 86_400:
        year = datetime.fromtimestamp(seconds, UTC).year
        return Check("clock", "wrong", f"it says {year}", "timedatectl set-ntp true")
    return Check("clock", "fine", f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC")


def check_certificates(settings: "Settings") -> Iterator[Check]:
    """The certificates of servers with TLS; nothing is said if none has it."""
    import socket
    import ssl
    from urllib.parse import urlsplit

    named = {
        "prefect": settings.prefect_api_url,
        "mlflow": settings.mlflow_tracking_uri,
        "service": settings.serving_base_url,
        "lake": settings.s3_endpoint_url or "",
    }
    for name, url in named.items():
        parts = urlsplit(url)
        if parts.scheme != "https" or parts.hostname is None:
            continue
        address = (parts.hostname, parts.port or 443)
        try:
            with (
                socket.create_connection(address, timeout=5) as plain,
                ssl.create_default_context().wrap_socket(
                    plain, server_hostname=parts.hostname
                ) as secure,
            ):
                certificate: Any = secure.getpeercert()
        except ssl.SSLCertVerificationError as error:
            yield Check(f"{name} TLS", "wrong", f"{url}: {error.verify_message}")
            continue
        except OSError as error:
            yield Check(f"{name} TLS", "unknown", f"{url}: {error}")
            continue
        days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 86_400
        finding: Finding = "look" if days < CERTIFICATE_DAYS else "fine"
        yield Check(f"{name} TLS", finding, f"its certificate ends in {days:.0f} days")


def check_use_cases() -> Iterator[Check]:
    """Can the file of each use case be used."""
    from usecases.definition import known, load_all

    cases, faults = load_all(known())
    if cases:
        yield Check("use cases", "fine", f"{len(cases)} files can be used")
    for fault in faults.values():
        yield Check("use cases", "wrong", str(fault))
    if not cases and not faults:
        yield Check("use cases", "look", "there is none", "laurel new my.csv")


def check_deployments(settings: "Settings") -> Iterator[Check]:
    """Has each use case its deployments, and each deployment its use case."""
    from laurel.names import flows
    from laurel.servers import open_prefect
    from usecases.definition import known, load_all

    wanted, here = set(flows()), load_all(known())[0]
    with open_prefect(settings) as prefect:
        found = _deployed(prefect)
    lacking = [name for name in here if wanted - found.get(name, set())]
    strangers = [name for name in found if name not in known()]
    if lacking:
        sentence = f"not applied for {', '.join(lacking[:5])}{' ...' if lacking[5:] else ''}"
        yield Check("deployments", "wrong", sentence, "laurel up")
    else:
        yield Check("deployments", "fine", f"applied for {len(here)} use cases")
    if strangers:
        sentence = f"of {', '.join(strangers[:5])}, which have no file"
        yield Check("deployments", "look", sentence, "laurel tidy")


def _deployed(prefect: Any) -> dict[str, set[str]]:
    """The flows of Laurel's deployments, by use case."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=["laurel"]))
    names = {flow.id: flow.name for flow in _pages(prefect.read_flows)}
    found: dict[str, set[str]] = {}
    for deployment in _pages(prefect.read_deployments, deployment_filter=tagged):
        found.setdefault(deployment.name, set()).add(names.get(deployment.flow_id, ""))
    return found


def _pages(read: Callable[..., list[Any]], **filters: Any) -> list[Any]:
    found: list[Any] = []
    while page := read(limit=200, offset=len(found), **filters):
        found += page
    return found


def check_blocks(settings: "Settings") -> Iterator[Check]:
    """Do Prefect's blocks say what the settings say; flow runs read the blocks."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    from deployments.apply.command import find_changed_blocks
    from deployments.servers.environment import prefect_auth

    url, auth = settings.prefect_api_url, prefect_auth(settings)
    with temporary_settings({PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: auth}):
        changed = find_changed_blocks(settings)
    if changed:
        sentence = f"{', '.join(changed)} differ from the settings"
        yield Check("blocks", "wrong", sentence, "laurel up")
    else:
        yield Check("blocks", "fine", "as the settings say")


def check_crowns(settings: "Settings") -> Iterator[Check]:
    """Of each use case: is the ledger whole, and are alias and service where it put the crown."""
    from blocks.clients.service import ServiceAway
    from deployments.checks.audit import audit

    service, good, entries = service_api(settings), 0, 0
    for one in audit([]):
        name = one.use_case
        if not one.checked:
            yield Check(name, "unknown", "; ".join(one.faults), "laurel logs mlflow")
            continue
        if one.faults:
            yield Check(name, "wrong", "; ".join(one.faults), f"laurel champion {name}")
            continue
        if one.champion is not None:
            try:
                served = service.ask("GET", f"/v1/{name}")["version"]
            except ServiceAway as error:  # it may know the others
                yield Check(name, "unknown", error.said or str(error), "laurel logs service")
                continue
            if served != one.champion:
                now = f"v{served}" if served else "nobody"
                sentence = f"the ledger says v{one.champion}, the service serves {now}"
                yield Check(name, "wrong", sentence, "laurel logs service")
                continue
        good, entries = good + 1, entries + one.entries
    if good:
        sentence = f"{good} use cases whole ({entries} entries); alias and service follow them"
        yield Check("ledgers", "fine", sentence)
