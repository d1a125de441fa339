"""Requests to the model service, as flows and the command line send them. httpx is imported with
the first of them."""

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

if TYPE_CHECKING:
    import httpx

_KEY = "Set LAUREL_SERVING_KEY to one of its keys and run python -m deployments.apply."
_SERVED = (
    "Add the use case to LAUREL_SERVING_USE_CASES and restart the service; if the setting is "
    "missing, it serves every use case."
)
_WAY_OUT = {401: _KEY, 403: _KEY, 404: _SERVED}


class ServiceAway(ConnectionError):
    """The service does not answer, or not in time. The message names the request.

    ``status`` is that of an answer, 0 without one; ``said`` is the service's own sentence."""

    def __init__(self, message: str, status: int = 0, said: str = "") -> None:
        super().__init__(message)
        self.status, self.said = status, said


class ServiceRefuses(ServiceAway):
    """The service refuses, and waiting does not help: another use case, no key or a wrong key."""


class ServiceApi:
    """One service. ``key`` goes with each request."""

    def __init__(self, url: str, key: SecretStr | None = None, timeout_seconds: float = 10) -> None:
        self.url, self._key, self._timeout_seconds = url, key, timeout_seconds

    @cached_property
    def _client(self) -> "httpx.Client":
        import httpx

        headers = {"Authorization": f"Bearer {self._key.get_secret_value()}"} if self._key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=self._timeout_seconds)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JSON of the answer. Raises ``ServiceAway``."""
        import httpx

        try:
            answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise ServiceAway(
                f"The model service at {self.url} does not answer {path}: {error}"
            ) from error
        if answer.status_code >= 400:
            raise self._refusal(path, answer.status_code, answer.text)
        content: dict[str, Any] = answer.json()
        return content

    def _refusal(self, path: str, status: int, text: str) -> ServiceAway:
        message = f"The model service at {self.url} answered {status} to {path}: {text[:300]}"
        said = _said(text)
        if status == 404 and '"unseen_use_case"' in text:
            # It serves every use case, and will serve this one as soon as it exists.
            return ServiceAway(message, status, said)
        if status in _WAY_OUT:
            return ServiceRefuses(f"{message} {_WAY_OUT[status]}", status, said)
        return ServiceAway(message, status, said)


def _said(text: str) -> str:
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""
