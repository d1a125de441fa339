"""A fake of MLflow for the service's requests, on a free loopback port.

    with RegistryServer(folder) as mlflow:
        digest = mlflow.register("toy", 1, lambda package: write_package(package))
        mlflow.crown("toy", 1)

The answers' shapes and statuses are those of MLflow 3.17; ``tests/integration/test_service.py``
uses a real server as well."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.loopback import Handler, LoopbackServer

CREATED_MILLISECONDS = 1_795_838_400_000  # when each version was registered: 2026-11-28, 04:00 UTC


class RegistryServer(LoopbackServer):
    """``artifacts`` is the folder behind the proxy, ``requests`` the paths of all requests.
    ``broken`` makes every answer a 500.
    """

    def __init__(self, artifacts: Path, port: int = 0) -> None:
        self.artifacts = artifacts
        self.versions: dict[tuple[str, int], dict[str, str]] = {}
        self.champions: dict[str, int] = {}
        self.aliases: dict[tuple[str, str], int] = {}
        self.others: list[str] = []
        self.requests: list[str] = []
        self.broken = False
        super().__init__(_Handler, port)

    def package_folder(self, model: str, version: int) -> Path:
        return self.artifacts / "1" / f"run-{model}-{version}" / "artifacts" / "package"

    def register(self, model: str, version: int, write: Callable[[Path], str]) -> str:
        """Store the package that ``write`` makes, with the tags that Laurel gives a version. Return
        its digest.
        """
        digest = write(self.package_folder(model, version))
        uri = f"mlflow-artifacts:/1/run-{model}-{version}/artifacts/package"
        self.versions[model, version] = {"laurel.package": uri, "laurel.package_sha256": digest}
        return digest

    def crown(self, model: str, version: int) -> None:
        self.champions[model] = version

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        if self.broken:
            return 500, b"<html>Internal Server Error</html>"
        if path == "/api/2.0/mlflow/registered-models/alias":
            return self._alias(query["name"][0], query["alias"][0])
        if path == "/api/2.0/mlflow/registered-models/search":
            return self._search(
                int(query["max_results"][0]), int(query.get("page_token", ["0"])[0])
            )
        if path == "/api/2.0/mlflow/model-versions/search":
            return 200, json.dumps({"model_versions": self._versions(query["filter"][0])}).encode()
        proxy = "/api/2.0/mlflow-artifacts/artifacts/"
        if path.startswith(proxy):
            file = self.artifacts / unquote(path.removeprefix(proxy))
            return (
                (200, file.read_bytes())
                if file.is_file()
                else _error(404, "RESOURCE_DOES_NOT_EXIST", f"No such artifact: '{file.name}'")
            )
        return 404, b""

    def _search(self, size: int, start: int) -> tuple[int, bytes]:
        """Return a page of the models, each with its latest version. ``others`` are models that do
        not belong to Laurel.
        """
        latest = dict(sorted(self.versions))
        names = sorted({*latest, *self.others})
        models: list[dict[str, Any]] = [{"name": name} for name in names[start : start + size]]
        for model in models:
            if model["name"] in latest:
                tags = self.versions[model["name"], latest[model["name"]]]
                version = {"name": model["name"], "version": str(latest[model["name"]])}
                model["latest_versions"] = [
                    version
                    | {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
                ]
        answer: dict[str, Any] = {"registered_models": models} if models else {}
        return 200, json.dumps(
            answer | ({"next_page_token": str(start + size)} if start + size < len(names) else {})
        ).encode()

    def _versions(self, condition: str) -> list[dict[str, Any]]:
        """Return the versions of the model in ``condition``: ``name = '...'``."""
        return [
            {
                "name": model,
                "version": str(version),
                "tags": [{"key": key, "value": value} for key, value in tags.items()],
            }
            for (model, version), tags in sorted(self.versions.items())
            if condition == f"name = '{model}'"
        ]

    def _alias(self, model: str, alias: str) -> tuple[int, bytes]:
        if not any(name == model for name, _ in self.versions):
            return _error(
                404, "RESOURCE_DOES_NOT_EXIST", f"Registered Model with name={model} not found"
            )
        version = self.champions.get(model) if alias == "champion" else None
        version = version or self.aliases.get((model, alias))
        if version is None:
            return _error(
                400, "INVALID_PARAMETER_VALUE", f"Registered model alias {alias} not found."
            )
        tags = [
            {"key": key, "value": value} for key, value in self.versions[model, version].items()
        ]
        model_version: dict[str, Any] = {
            "name": model,
            "version": str(version),
            "aliases": [alias],
            "status": "READY",
        }
        model_version["creation_timestamp"] = CREATED_MILLISECONDS
        return 200, json.dumps(
            {"model_version": model_version | ({"tags": tags} if tags else {})}
        ).encode()


def _error(status: int, code: str, message: str) -> tuple[int, bytes]:
    return status, json.dumps({"error_code": code, "message": message}).encode()


class _Handler(Handler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.owner.requests.append(parts.path)
        self.reply(*self.owner.answer(parts.path, parse_qs(parts.query)))
