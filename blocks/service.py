"""The model service as the flows see it: which version it serves, and answers to a few rows."""

import time
from typing import Any, Self

from prefect.blocks.core import Block
from pydantic import Field

from blocks.settings import Settings

BLOCK = "service"


class ServiceAway(ConnectionError):
    """The service does not answer, or not in time. The message says what was asked of it."""


class ModelService(Block):
    """Address of the model service that ``promote`` and ``rollback`` wait for."""

    _block_type_name = "Laurel model service"
    _block_type_slug = "laurel-model-service"
    _description = "The FastAPI service that serves the champion."

    url: str = Field(description="base address, for example http://127.0.0.1:5001")

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(url=settings.serving_base_url)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        import httpx

        try:
            answer = httpx.request(method, f"{self.url}{path}", json=body, timeout=10)
        except httpx.HTTPError as error:
            raise ServiceAway(f"The model service at {self.url} does not answer {path}: {error}") from error
        if answer.status_code >= 400:
            raise ServiceAway(f"The model service answered {answer.status_code} to {path}: {answer.text[:300]}")
        return answer.json()

    def describe(self, use_case: str) -> dict[str, Any]:
        """What the service says of its champion. Raises ``ServiceAway``."""
        return self._ask("GET", f"/v1/{use_case}")

    def predict(self, use_case: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Scores of ``rows``, as a caller gets them, left out of the prediction log. Raises ``ServiceAway``."""
        return self._ask("POST", f"/v1/{use_case}/predict?log=false", {"rows": rows})

    def wait_until_serves(self, use_case: str, version: str, timeout_seconds: float) -> float:
        """Return after how many seconds the service says it serves ``version``.

        Raises ``ServiceAway`` with what it serves instead, and its last error, when the time is over.
        """
        start = time.monotonic()
        last: str = "nothing yet"
        while time.monotonic() - start < timeout_seconds:
            try:
                said = self.describe(use_case)
                if said.get("version") == version:
                    return time.monotonic() - start
                last = f"version {said.get('version')}, last error: {said.get('last_error')}"
            except ServiceAway as error:
                last = str(error)
            time.sleep(0.1)
        raise ServiceAway(f"The service does not serve {use_case} version {version} after {timeout_seconds:g} s; it says: {last}.")
