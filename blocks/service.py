"""The model service as the flows see it: the version that it serves, and answers to a few rows."""

import time
from functools import cached_property
from typing import Any, Self

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.clients.service import ServiceApi, ServiceAway, ServiceRefuses
from blocks.settings import Settings

__all__ = ["AT_WORK", "BLOCK", "ModelService", "ServiceAway", "ServiceRefuses"]

BLOCK = "service"
AT_WORK = 5


class ModelService(Block):
    """Address of the model service that ``promote`` and ``rollback`` wait for."""

    _block_type_name = "Laurel model service"
    _block_type_slug = "laurel-model-service"
    _description = "The FastAPI service that serves the champion."

    url: str = Field(description="base address, for example http://127.0.0.1:5001")
    page_url: str | None = Field(
        default=None, description="address of its page for people, if different"
    )
    key: SecretStr | None = Field(
        default=None, description="API key with the scope predict, if the service requires one"
    )

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            url=settings.serving_base_url,
            page_url=settings.serving_page_url,
            key=settings.serving_key,
        )

    @cached_property
    def _api(self) -> ServiceApi:
        return ServiceApi(self.url, self.key)

    def describe(self, use_case: str) -> dict[str, Any]:
        """Return the service's description of its champion. Raises ``ServiceAway``."""
        return self._api.ask("GET", f"/v1/{use_case}")

    def page(self, use_case: str, decision: int | None = None) -> str:
        """Return the address of the use case, or of one of its decisions, on the service's page."""
        place = "" if decision is None else f"&decision={decision}"
        return f"{(self.page_url or self.url).rstrip('/')}/#{use_case}{place}"

    def use_cases(self) -> list[str]:
        """Return the names of all use cases that the service serves. Raises ``ServiceAway``."""
        return [entry["use_case"] for entry in self._api.ask("GET", "/v1")["use_cases"]]

    def check_serves(self, use_case: str) -> str | None:
        """Raises ``ServiceRefuses`` if the service will never serve the use case with its present
        settings.

        Return any other obstacle, which may be gone by the time that there is something to serve;
        ``None`` if there is no obstacle."""
        try:
            self.describe(use_case)
        except ServiceRefuses:
            raise
        except ServiceAway as error:
            return str(error)
        return None

    def predict(self, use_case: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the scores of ``rows`` as a caller gets them, without an entry in the prediction
        log. Raises ``ServiceAway``.
        """
        return self._api.ask("POST", f"/v1/{use_case}/predict?log=false", {"rows": rows})

    def wait_until_serves(self, use_case: str, version: str, timeout_seconds: float) -> float:
        """Return the seconds until the service reports that all of its workers serve ``version``.

        The time limit starts again with each change in its report, and is longer while the service
        works on that version, for the sake of slow machines. Raises ``ServiceRefuses`` at once
        if it will never serve it. At the limit, raises ``ServiceAway`` with the versions served
        instead and the last error."""
        start = changed = time.monotonic()
        last, limit, before = "nothing yet", timeout_seconds, None
        while time.monotonic() - changed < limit:
            try:
                description = self.describe(use_case)
                if _served(description) == {version}:
                    return time.monotonic() - start
                last = (
                    f"version {', '.join(sorted(map(str, _served(description))))}, last error: "
                    f"{description.get('last_error')}"
                )
                limit = timeout_seconds * (AT_WORK if _is_at_work(description, version) else 1)
            except ServiceRefuses:
                raise
            except ServiceAway as error:
                last, limit = str(error), timeout_seconds
            if last != before:
                before, changed = last, time.monotonic()
            time.sleep(0.1)
        waited = time.monotonic() - start
        raise ServiceAway(
            f"The service does not serve {use_case} version {version} after {waited:.0f} s; "
            f"it says: {last}."
        )


def _served(description: dict[str, Any]) -> set[str | None]:
    """Return the versions that its workers serve; ``None`` for a worker without a champion."""
    return {worker["version"] for worker in description.get("workers") or [description]}


def _is_at_work(description: dict[str, Any], version: str) -> bool:
    """Whether it knows that the alias is at ``version``, and no error keeps it from fetching and
    proving that version.
    """
    return (description.get("alias") or {}).get("version") == version and not description.get(
        "last_error"
    )
