"""What is asked of MLflow's registry over its REST API: versions, aliases, tags, and the files of a
package.

MLflow's own client costs seconds of imports, which a rollback has no time for. It still does what
needs it: runs and models (``blocks/registry.py``). https://mlflow.org/docs/latest/rest-api.html"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    import httpx

_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
# A 404 without a code of MLflow's own is another program's, or a wrong path: it says nothing of a
# model.
_CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
_OUTAGES = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")


class ApiError(RuntimeError):
    """MLflow's refusal. ``code`` is its own word for it, such as RESOURCE_DOES_NOT_EXIST."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_outage(self) -> bool:
        return self.code in _OUTAGES


class RegistryApi:
    """A client of one MLflow server. Raises ``ApiError`` for a refusal, ``httpx.HTTPError`` where
    nobody answers.
    """

    def __init__(self, url: str, auth: tuple[str, str] | None) -> None:
        self._url, self._auth = url.rstrip("/"), auth

    @cached_property
    def _client(self) -> "httpx.Client":
        import httpx

        return httpx.Client(
            base_url=self._url, auth=self._auth, timeout=httpx.Timeout(30, connect=3)
        )

    def at(self, model: str, alias: str) -> dict[str, Any] | None:
        """The version with the alias; ``None`` where there is no such model or alias."""
        try:
            return self._ask("GET", "registered-models/alias", {"name": model, "alias": alias})[
                "model_version"
            ]
        except ApiError as error:
            # MLflow says INVALID_PARAMETER_VALUE for a model without the alias, and DOES_NOT_EXIST
            # for no model.
            if error.code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def version(self, model: str, number: str) -> dict[str, Any]:
        return self._ask("GET", "model-versions/get", {"name": model, "version": number})[
            "model_version"
        ]

    def versions(self, model: str, page: int = 1000) -> list[dict[str, Any]]:
        """All of them, asked for ``page`` at a time."""
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            asked = {"filter": f"name = '{model}'", "max_results": str(page), "page_token": token}
            answer = self._ask("GET", "model-versions/search", asked)
            found += answer.get("model_versions", [])
            token = answer.get("next_page_token", "")
            if not token:
                return found

    def set_alias(self, model: str, alias: str, number: str) -> None:
        self._ask(
            "POST", "registered-models/alias", {"name": model, "alias": alias, "version": number}
        )

    def remove_alias(self, model: str, alias: str) -> None:
        self._ask("DELETE", "registered-models/alias", {"name": model, "alias": alias})

    def tag_version(self, model: str, number: str, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._ask(
                "POST",
                "model-versions/set-tag",
                {"name": model, "version": number, "key": key, "value": value},
            )

    def tag_model(self, model: str, tags: Mapping[str, str]) -> bool:
        """False where there is no such model."""
        try:
            for key, value in tags.items():
                self._ask(
                    "POST", "registered-models/set-tag", {"name": model, "key": key, "value": value}
                )
        except ApiError as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return True

    def model_tags(self, model: str) -> dict[str, str]:
        """None where there is no such model."""
        try:
            return tags_of(
                self._ask("GET", "registered-models/get", {"name": model})["registered_model"]
            )
        except ApiError as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}

    @staticmethod
    def serves(package: str) -> bool:
        """Whether MLflow's server hands out the files of the package's URI itself."""
        parts = urlsplit(package)
        return parts.scheme == "mlflow-artifacts" and not parts.netloc

    def download(self, package: str, folder: Path) -> None:
        """Write the files of the package's URI, which lie side by side, into ``folder``."""
        path = urlsplit(package).path.strip("/")
        for one in self._json(self._client.get(_ARTIFACTS, params={"path": path})).get("files", []):
            name = Path(one["path"]).name
            if one.get("is_dir"):
                continue
            answer = self._client.get(f"{_ARTIFACTS}/{quote(f'{path}/{name}')}")
            self._check(answer)
            (folder / name).write_bytes(answer.content)

    def _ask(self, method: str, path: str, values: Mapping[str, str]) -> dict[str, Any]:
        given: dict[str, Any] = {"params": values} if method == "GET" else {"json": values}
        return self._json(self._client.request(method, f"{_API}/{path}", **given))

    def _json(self, answer: "httpx.Response") -> dict[str, Any]:
        self._check(answer)
        try:
            body = answer.json()
        except ValueError as error:
            raise ApiError(
                "INTERNAL_ERROR", f"no JSON in its answer to {answer.url.path}"
            ) from error
        if not isinstance(body, dict):
            raise ApiError("INTERNAL_ERROR", f"no JSON object in its answer to {answer.url.path}")
        return body

    def _check(self, answer: "httpx.Response") -> None:
        if answer.status_code < 300:
            return
        try:
            said = answer.json()
            code, message = str(said["error_code"]), str(said.get("message", ""))
        except (ValueError, KeyError, TypeError):
            # Without a code of MLflow's own it was the server before it, or its login.
            code = _CODES.get(answer.status_code, "INTERNAL_ERROR")
            message = f"{answer.status_code} {answer.text[:200]}"
        raise ApiError(code, message)


def tags_of(entity: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in entity.get("tags", [])}
