"""Shared by all tests: a separate environment, free ports, and one real local stack for the whole
session.
"""

import logging
import os
import random
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
from hypothesis import settings as searching

from blocks.settings import Settings
from deployments.local import ports as local_ports
from deployments.local import stack as local
from deployments.servers.errors import PortError
from tests import lanes
from tests.fakes.slack import SlackServer
from tests.fixtures.prefect_database import lay_prefect_database, lay_under_stack

LocalSettings = Callable[..., Settings]
FIXTURES = Path(__file__).parent / "fixtures"
EXAMPLES = Path(__file__).parents[1] / "examples"
EXIT_STATUS = pytest.StashKey[int]()
STACK_MODULES = pytest.StashKey[Path]()
AUTHORITIES = pytest.StashKey[str | None]()
SHARED = pytest.StashKey[Path | None]()
END_SECONDS = 5
# Each change runs on the same examples; --hypothesis-profile=nightly searches for new ones.
searching.register_profile(
    "ci", max_examples=100, derandomize=True, deadline=None, database=None, print_blob=True
)
searching.register_profile(
    "nightly", searching.get_profile("ci"), max_examples=1500, derandomize=False
)
searching.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="run what is marked nightly as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked ``nightly``, unless it is asked for: by ``--nightly``, or by the
    name of its file.
    """
    if config.getoption("--nightly"):
        return
    named = {Path(argument.partition("::")[0]).resolve() for argument in config.args}
    left = [item for item in items if is_nightly(item) and item.path not in named]
    config.hook.pytest_deselected(items=left)
    gone = set(left)
    items[:] = [item for item in items if item not in gone]


def is_nightly(item: pytest.Item) -> bool:
    """Whether the test, or its variant, is marked ``nightly``. The mark's ``only`` has words of the
    variants' ids; the others run on each change.
    """
    variant = callspec.id if (callspec := getattr(item, "callspec", None)) else ""
    return any(
        not (only := mark.kwargs.get("only", ())) or any(word in variant for word in only)
        for mark in item.iter_markers("nightly")
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests away from the user's folders and settings. This runs before anything imports
    Prefect, which reads its home then.
    """
    home = Path(tempfile.mkdtemp(prefix="laurel-tests-"))
    config.stash[STACK_MODULES] = home / "lanes"
    config.stash[STACK_MODULES].mkdir()
    (home / "shared").mkdir()
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    lane = getattr(config, "workerinput", {})
    config.stash[SHARED] = Path(lane["shared"]) if lane else None
    config.stash[AUTHORITIES] = getattr(config, "workerinput", os.environ).get("SSL_CERT_FILE")
    for name in [
        name for name in os.environ if name.startswith(("LAUREL_", "PREFECT_", "MLFLOW_", "AWS_"))
    ]:
        del os.environ[name]
    os.environ |= {
        "HOME": str(home),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # A test's small server may take this long to start while other lanes use the machine.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        # Threads of a fit that wait for each other must not spin: when tests share two cores with
        # servers, spinning turned seconds into minutes.
        "OMP_WAIT_POLICY": "passive",
        "SSL_CERT_FILE": str(write_one_authority(home / "authority.pem")),
        # No test may reach AWS, whatever the machine's configuration.
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(home / "aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "aws-credentials"),
    }


def write_one_authority(file: Path) -> Path:
    """Write the only authority that clients trust. Each new HTTP client reads all authorities in
    25 ms of a core, and a flow run makes dozens of clients. The tests' servers use no TLS.
    """
    everybody = Path(certifi.where()).read_text()
    first, end, _ = everybody[everybody.index("-----BEGIN") :].partition("END CERTIFICATE-----")
    file.write_text(f"{first}{end}\n")
    return file


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["stack_modules"] = str(node.config.stash[STACK_MODULES] / node.gateway.id)
    node.workerinput["shared"] = str(node.config.stash[STACK_MODULES].parent / "shared")
    node.workerinput["SSL_CERT_FILE"] = node.config.stash[AUTHORITIES]


@pytest.hookimpl(tryfirst=True)  # before the scheduler gets the collection
def pytest_collection_finish(session: pytest.Session) -> None:
    if lane := getattr(session.config, "workerinput", None):
        lanes.write_stack_modules(session.items, Path(lane["stack_modules"]))
        # For the small server of tests that run a flow or a task without a stack.
        lay_prefect_database(Path(os.environ["PREFECT_HOME"]), session.config.stash[SHARED])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    config.option.loadscopereorder = (
        False  # xdist orders by the number of tests, which is not their duration
    )
    config.pluginmanager.register(lanes.Timetable())
    return lanes.Lanes(config, log, config.stash[STACK_MODULES])


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[EXIT_STATUS] = int(exitstatus)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the process soon after the summary.

    Prefect still has events for servers that no longer run, tries each eleven times within about
    eight seconds, and waits for all of them when the process exits. The tests do not wait.
    A lane has sent its last report by now, at the end of its session."""
    logging.disable()
    logging.getLogger(
        "prefect._internal.concurrency"
    ).disabled = True  # It ignores logging.disable.
    end = threading.Timer(
        END_SECONDS, os._exit, [config.stash.get(EXIT_STATUS, pytest.ExitCode.INTERNAL_ERROR)]
    )
    end.daemon = True
    end.start()


@pytest.fixture(autouse=True)
def mlflow_forgets_its_experiment() -> Iterator[None]:
    """Remove the id that ``mlflow.set_experiment`` leaves in the environment: the MLflow server of
    the next test does not know it.
    """
    yield
    for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):
        os.environ.pop(name, None)


@pytest.fixture(scope="module")
def all_authorities(pytestconfig: pytest.Config) -> Iterator[None]:
    """For tests whose programs use servers on the Internet: clients trust the authorities that they
    trusted before the tests.
    """
    before = pytestconfig.stash[AUTHORITIES]
    with pytest.MonkeyPatch.context() as patch:
        if before is None:
            patch.delenv("SSL_CERT_FILE")
        else:
            patch.setenv("SSL_CERT_FILE", before)
        yield


@pytest.fixture(scope="session")
def local_settings() -> LocalSettings:
    """``local_settings(state, **changed)``: settings of a separate stack, on ports that were free a
    moment ago.
    """

    def make_settings(state: Path, **changed: object) -> Settings:
        while True:
            # Below the range for outgoing connections, so that none takes a port in the meantime.
            first = random.randrange(20_000, 32_000)
            ports = {
                "prefect_port": first,
                "mlflow_port": first + 1,
                "serving_port": first + 2,
                "s3_port": first + 3,
            }
            # A stack of few runs ends before a warm parent has paid for its imports.
            settings = Settings.model_validate(
                {"state": state, "warm_runs": False, **ports, **changed}
            )
            try:
                local_ports.check(settings)
            except PortError:
                continue
            return settings

    return make_settings


@pytest.fixture(scope="session")
def slack() -> Iterator[SlackServer]:
    """The Slack that the stack posts to."""
    with SlackServer() as server:
        yield server


@pytest.fixture(scope="session")
def shared(pytestconfig: pytest.Config) -> Path | None:
    """The folder of all lanes; nothing if there is one process."""
    return pytestconfig.stash[SHARED]


@pytest.fixture(scope="session")
def stack(
    local_settings: LocalSettings,
    tmp_path_factory: pytest.TempPathFactory,
    slack: SlackServer,
    shared: Path | None,
) -> Iterator[Settings]:
    """The whole local stack, running: Prefect, SeaweedFS, MLflow, the service and a worker. The
    first test that uses it starts it.
    """
    requested = local_settings(
        tmp_path_factory.mktemp("stack"),
        PYTHONPATH=f"{FIXTURES}{os.pathsep}{EXAMPLES}",
        serving_use_cases="flights,toy,toy_github,toy_contest,toy_drift,toy_retrain,toy_approval,"
        "toy_hasty,toy_rollback,toy_rollout,toy_slack,toy_late,toy_reign,toy_schema,toy_small,toy_governor,"
        "toy_hopeless,toy_long,toy_changed,toy_two_months,toy_number,toy_classes,diabetes,digits,"
        "reviews,"
        "toy_daily,toy_weekly,toy_own,toy_terminal,departures",
        # MLflow's webhook reports a champion at once. Polling twice a second for each of these use
        # cases took a quarter of a core in MLflow, and every five seconds took a fortieth.
        serving_poll_seconds=20.0,
        warm_runs=True,
        log_flush_seconds=1.0,
        slack_token=slack.token,
        slack_api_url=slack.url,
    )
    lay_under_stack(requested.state, shared)
    settings = local.up(requested)
    yield settings
    local.down(settings)


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
