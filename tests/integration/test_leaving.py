"""How the service ends: load balancers hear of it first, what was begun is answered, and no reader
that sleeps keeps it alive.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.fakes.registry import RegistryServer
from tests.fixtures.processes import ServiceProcess, wait_until

pytestmark = pytest.mark.nightly("waits for real seconds")

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0}
PROBES = ("/ready", "/ping", "/v2/health/ready", "/v2/models/toy/ready")


def statuses_until_gone(
    service: ServiceProcess, path: str, signalled: Callable[[], object]
) -> list[int]:
    """What new connections are answered from the signal on."""
    statuses = []
    signalled()
    while True:
        try:
            statuses.append(
                httpx.get(
                    f"{service.client.base_url}{path}", trust_env=False, timeout=10
                ).status_code
            )
        except httpx.TransportError:
            return statuses
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 2])
def test_at_sigterm_readiness_ends_at_once_and_the_answers_go_on(
    registry: RegistryServer, tmp_path: Path, workers: int
) -> None:
    service = ServiceProcess(
        tmp_path, registry.url, serving_workers=workers, serving_leave_seconds=8
    )
    with service:
        service.wait_for_version("1", workers)
        assert [service.client.get(path).status_code for path in PROBES for _ in range(4)] == [
            200
        ] * 4 * len(PROBES)
        process = service._process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        url = service.client.base_url
        wait_until(
            lambda: httpx.get(f"{url}/ready", trust_env=False).status_code == 503, "readiness ends"
        )
        for path in PROBES:
            assert httpx.get(f"{url}{path}", trust_env=False).status_code == 503
        assert httpx.get(f"{url}/health", trust_env=False).status_code == 200
        answer = httpx.post(f"{url}/v1/toy/predict", json={"rows": [ROW]}, trust_env=False)
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert process.wait(30) in (0, -signal.SIGTERM)


def test_where_nobody_asks_for_readiness_the_end_is_quick_and_yet_told(
    registry: RegistryServer, tmp_path: Path
) -> None:
    with ServiceProcess(tmp_path, registry.url, serving_leave_seconds=60) as service:
        process = service._process
        assert process is not None
        seen = statuses_until_gone(service, "/health", lambda: process.send_signal(signal.SIGTERM))
        assert set(seen) <= {200}, "on a busy machine it may have gone before anybody asked"
        assert process.wait(30) in (0, -signal.SIGTERM)


def test_while_a_request_is_being_finished_readiness_says_so(
    registry: RegistryServer, tmp_path: Path
) -> None:
    with ServiceProcess(tmp_path, registry.url, serving_leave_seconds=0) as service:
        service.wait_for_version("1")
        process, body = (
            service._process,
            b'{"rows": [{"carrier": "AA", "distance": 800.0, "wind": 3.0}]}',
        )
        assert process is not None
        head = (
            b"POST /v1/toy/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
            b"application/json\r\nContent-Length: %d\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as caller:
            caller.sendall(head % len(body) + body[:9])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            url = service.client.base_url
            wait_until(
                lambda: httpx.get(f"{url}/ready", trust_env=False).status_code == 503,
                "readiness ends",
            )
            time.sleep(1.0)
            assert httpx.get(f"{url}/ready", trust_env=False).status_code == 503, (
                "the request is not finished yet"
            )
            caller.sendall(body[9:])
            assert caller.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert process.wait(30) in (0, -signal.SIGTERM)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_pipe_holds_up_neither_the_answers_nor_the_end(
    registry: RegistryServer, tmp_path: Path, workers: int
) -> None:
    service = ServiceProcess(
        tmp_path, registry.url, serving_workers=workers, serving_leave_seconds=1
    )
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b"x" * 65536)
    except BlockingIOError:
        os.set_blocking(write, True)
    process = subprocess.Popen(
        service.command,
        env=service._environment,
        stdout=write,
        stderr=write,
        cwd=Path(__file__).parent.parent.parent,
    )
    os.close(write)
    try:
        wait_until(lambda: service.client.get("/health").status_code == 200, "the service answers")
        asked = [service.client.get("/version").status_code for _ in range(300)]
        assert asked == [200] * 300
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
        os.close(read)
        service.client.close()
