"""A fake of Prefect's API for the service's requests, on a free loopback port.

    with PrefectServer() as prefect:
        run = prefect.suspended("approve/toy", use_case="toy", version="3", asked_by="...")
        PrefectApi(prefect.url).resume(run, {"approved": True, "by": "me", "why": ""})
        assert prefect.answers == {run: {"approved": True, "by": "me", "why": ""}}

Shapes and statuses are those of Prefect 3.8: it refuses a run that does not wait (200 with ABORT),
an answer that lacks a field or has a field of another type (200 with REJECT), a wrong password
(401) and unknown paths (404). ``tests/integration/test_operator.py`` uses a real server."""

import base64
import json
import threading
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.loopback import Handler, LoopbackServer

ANSWER = {"approved": bool, "by": str}


@dataclass
class FakeRun:
    """One flow run. ``begins``: how often it started to run."""

    id: str
    deployment_id: str
    parameters: dict[str, Any]
    state_type: str
    state_name: str
    begins: int = 1


@dataclass
class PrefectServer(LoopbackServer):
    """``answers``: the inputs of resumed runs; ``started``: the parameters of new ones;
    ``requests``: method and path of each request; ``broken``: every answer is a 500.

    ``contended``: as if answers came at the same moment, when Prefect answers 503 to all but the
    first."""

    auth: str | None = None
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, FakeRun] = field(default_factory=dict)
    deployments: dict[str, str] = field(default_factory=dict)
    started: list[dict[str, Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    broken: bool = False
    contended: bool = False

    def __post_init__(self) -> None:
        self._once: dict[str, str] = {}
        self.turn = threading.Lock()
        super().__init__(_Handler)

    @property
    def url(self) -> str:
        return f"{super().url}/api"

    def deploy(self, name: str) -> str:
        return self.deployments.setdefault(name, str(uuid.uuid4()))

    def suspended(self, deployment: str, **parameters: Any) -> str:
        """Add a run that waits for its answer, and return its id."""
        run = FakeRun(str(uuid.uuid4()), self.deploy(deployment), parameters, "PAUSED", "Suspended")
        self.runs[run.id] = run
        return run.id

    def end(self, run: str, state_type: str = "COMPLETED", name: str = "Expired") -> None:
        self.runs[run].state_type, self.runs[run].state_name = state_type, name

    def answer(
        self, method: str, path: str, authorization: str | None, body: dict[str, Any]
    ) -> tuple[int, Any]:
        if self.broken:
            return 500, {"exception_message": "Internal Server Error"}
        if self.auth and authorization != "Basic " + base64.b64encode(self.auth.encode()).decode():
            return 401, {"exception_message": "Unauthorized"}
        parts = path.removeprefix("/api/").split("/")
        if method == "GET" and parts[:2] == ["deployments", "name"] and len(parts) == 4:
            deployment_id = self.deployments.get("/".join(parts[2:]))
            return (
                (200, {"id": deployment_id, "name": parts[3]})
                if deployment_id
                else (404, {"detail": "Deployment not found"})
            )
        if method == "GET" and parts[0] == "flow_runs" and len(parts) == 2:
            return (
                (200, self._described(self.runs[parts[1]]))
                if parts[1] in self.runs
                else (404, {"detail": "Flow run not found"})
            )
        if method == "POST" and parts[0] == "flow_runs" and parts[2:] == ["resume"]:
            return self._resume(parts[1], body)
        if method == "POST" and parts[0] == "deployments" and parts[2:] == ["create_flow_run"]:
            return self._create(parts[1], body)
        return 404, {"detail": "Not Found"}

    def _described(self, run: FakeRun) -> dict[str, Any]:
        description = {
            "id": run.id,
            "name": "wise-owl",
            "deployment_id": run.deployment_id,
            "parameters": run.parameters,
            "tags": [],
        }
        return description | {
            "state_type": run.state_type,
            "state_name": run.state_name,
            "run_count": run.begins,
        }

    def _resume(self, number: str, body: dict[str, Any]) -> tuple[int, Any]:
        run = self.runs.get(number)
        if run is None:  # Prefect does not handle this case
            return 500, {"exception_message": "Internal Server Error"}
        if self.contended and run.state_type != "PAUSED":
            return 503, {"exception_message": "Service Unavailable"}
        if run.state_type != "PAUSED":
            details = {
                "type": "abort_details",
                "reason": "Cannot resume a flow run that is not paused.",
            }
            return 200, {"state": None, "status": "ABORT", "details": details}
        run_input = body.get("run_input") or {}
        if wrong := [
            name for name, kind in ANSWER.items() if type(run_input.get(name)) is not kind
        ]:
            details = {
                "type": "abort_details",
                "reason": f"Reason: Validation failed for field {wrong[0]!r}.",
            }
            return 200, {"state": {"type": "PAUSED"}, "status": "REJECT", "details": details}
        run.state_type, run.state_name = "SCHEDULED", "Resuming"
        self.answers[number] = run_input
        return 201, {
            "state": {"type": "SCHEDULED", "name": "Resuming"},
            "status": "ACCEPT",
            "details": {"type": "accept_details"},
        }

    def _create(self, deployment: str, body: dict[str, Any]) -> tuple[int, Any]:
        if deployment not in self.deployments.values():
            return 404, {"detail": "Deployment not found"}
        once = body.get("idempotency_key")
        if once in self._once:
            return 200, self._described(self.runs[self._once[once]])
        run = FakeRun(
            str(uuid.uuid4()), deployment, body["parameters"], "SCHEDULED", "Scheduled", begins=0
        )
        self.runs[run.id] = run
        self.started.append(body["parameters"])
        if once:
            self._once[once] = run.id
        return 201, self._described(run)


class _Handler(Handler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self._answer(json.loads(self.body() or b"{}"))

    def _answer(self, body: dict[str, Any]) -> None:
        prefect: PrefectServer = self.owner
        prefect.requests.append(f"{self.command} {self.path}")
        with prefect.turn:
            status, document = prefect.answer(
                self.command, self.path, self.headers.get("Authorization"), body
            )
        self.reply(status, json.dumps(document).encode())
