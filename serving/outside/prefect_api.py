"""The service's calls to Prefect's REST API: resume a run that waits for an answer, and start a
deployment.

Prefect's own client is far too heavy for the service (docs/decisions); these five requests suffice.
httpx is imported with the first of them. Who may call is decided elsewhere:
``serving/history/approvals.py`` and ``serving/routes/operate.py``."""

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar
from urllib.parse import quote

import msgspec

from blocks.settings import Settings
from serving.errors import PrefectAway

if TYPE_CHECKING:
    import httpx

ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED", "CANCELLING"})
_CONNECT_SECONDS = 2.0
_CREATED = 201

T = TypeVar("T")


class Run(msgspec.Struct, frozen=True):
    """A flow run. ``run_count`` is the number of its starts: a run that was suspended and resumes
    starts again.
    """

    id: str
    deployment_id: str | None
    parameters: dict[str, Any]
    state_type: str | None
    state_name: str | None
    run_count: int


class StartedRun(NamedTuple):
    """A run of a deployment. ``is_new``: this request made it, and not an earlier one of the same
    name.
    """

    id: str
    is_new: bool


class _Deployment(msgspec.Struct, frozen=True):
    id: str


class _Reason(msgspec.Struct, frozen=True):
    reason: str | None = None


class _Orchestration(msgspec.Struct, frozen=True):
    status: str
    details: _Reason | None = None


# Made now, by one thread: msgspec ends the process if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_RUN = msgspec.json.Decoder(Run)
_DEPLOYMENT = msgspec.json.Decoder(_Deployment)
_ORCHESTRATION = msgspec.json.Decoder(_Orchestration)


class PrefectApi:
    """A client of one Prefect server. Safe to use from several threads; every method raises
    ``PrefectAway``.

    ``auth`` (user:password) goes to that server and to no other: no redirect is followed."""

    def __init__(self, url: str, auth: str | None = None, timeout_seconds: float = 10.0) -> None:
        self.url = url.rstrip("/")
        self._auth = auth
        self._timeout_seconds = timeout_seconds

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            settings.prefect_api_url,
            settings.prefect_auth.get_secret_value() if settings.prefect_auth else None,
        )

    @cached_property
    def _client(self) -> "httpx.Client":
        import httpx

        # trust_env=False: an internal address, like the registry's.
        user, _, password = (self._auth or "").partition(":")
        timeout = httpx.Timeout(self._timeout_seconds, connect=_CONNECT_SECONDS)
        return httpx.Client(
            timeout=timeout, auth=(user, password) if self._auth else None, trust_env=False
        )

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()

    def run(self, run: str) -> Run | None:
        """``None`` if there is no such run."""
        answer = self._ask("GET", f"/flow_runs/{quote(run, safe='')}")
        return None if answer.status_code in (404, 422) else self._read(answer, _RUN)

    def deployment(self, name: str) -> str | None:
        """The id of ``<flow>/<deployment>``; ``None`` if there is none."""
        answer = self._ask("GET", f"/deployments/name/{quote(name)}")
        return None if answer.status_code == 404 else self._read(answer, _DEPLOYMENT).id

    def resume(self, run: str, answer: dict[str, Any]) -> str | None:
        """Resume a run that waits for input with ``answer``. ``None``, or why Prefect did not
        accept it: the run does not wait (any more).
        """
        orchestration = self._read(
            self._ask("POST", f"/flow_runs/{quote(run, safe='')}/resume", {"run_input": answer}),
            _ORCHESTRATION,
        )
        return (
            None
            if orchestration.status == "ACCEPT"
            else (orchestration.details and orchestration.details.reason) or orchestration.status
        )

    def start(
        self, deployment: str, parameters: dict[str, Any], once: str | None = None
    ) -> StartedRun:
        """Start the deployment with this id. Requests with the same ``once`` start one run, and all
        get it.
        """
        body = {"parameters": parameters} | ({"idempotency_key": once} if once else {})
        answer = self._ask(
            "POST", f"/deployments/{quote(deployment, safe='')}/create_flow_run", body
        )
        return StartedRun(self._read(answer, _DEPLOYMENT).id, answer.status_code == _CREATED)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> "httpx.Response":
        import httpx

        try:
            return self._client.request(method, self.url + path, json=body)
        except (
            httpx.HTTPError,
            RuntimeError,
        ) as error:  # RuntimeError: the client was closed meanwhile
            raise PrefectAway(
                f"Prefect at {self.url} cannot be reached: {str(error) or type(error).__name__}."
            ) from error

    def _read(self, answer: "httpx.Response", decoder: msgspec.json.Decoder[T]) -> T:
        if answer.status_code not in (200, 201):
            hint = (
                ": it does not accept LAUREL_PREFECT_AUTH"
                if answer.status_code in (401, 403)
                else ""
            )
            raise PrefectAway(f"Prefect at {self.url} answers {answer.status_code}{hint}.")
        try:
            return decoder.decode(answer.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise PrefectAway(
                f"{self.url} did not answer as Prefect's API does: {error}."
            ) from error
