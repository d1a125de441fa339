"""MLflow's registry over its REST API: versions, aliases, tags, and the files of a package.

MLflow's own client costs two seconds of imports and 100 MB: the service has no memory for it, and
a rollback no time. Runs and models still need it (``blocks/registry.py``). httpx is imported with
the first request: its import takes as long as ONNX Runtime's, and the service's first answer need
not wait for it. https://mlflow.org/docs/latest/rest-api.html"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

if TYPE_CHECKING:
    import httpx

CHAMPION = "champion"
CHALLENGER = "challenger"
ROLLOUT = "rollout"  # the challenger that some callers meet, while its rollout lasts
# Tag of a run or a version whose files ``tidy`` has deleted: when.
TIDIED_TAG = "laurel.tidied"
# Tags of a version: where its package is, and the SHA-256 of the package's manifest.
PACKAGE_TAG = "laurel.package"
DIGEST_TAG = "laurel.package_sha256"
# Tag of a version with the alias ``rollout``: its terms.
TERMS_TAG = "laurel.rollout"
# Tag of a model: the head of its ledger.
LEDGER_TAG = "laurel.ledger"
_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
# A 404 without one of MLflow's codes comes from another program or a wrong path: it says nothing
# about a model.
_CODES = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}
_OUTAGES = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")


class Unreachable(ConnectionError):
    """The server does not answer, or its answer breaks off."""


class ApiError(Exception):
    """MLflow's refusal, with the status of its answer. ``code`` is MLflow's error code, such as
    RESOURCE_DOES_NOT_EXIST.
    """

    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status

    @property
    def is_outage(self) -> bool:
        return self.code in _OUTAGES


class StrangeAnswer(ApiError):
    """MLflow would not give such an answer."""

    def __init__(self, message: str) -> None:
        super().__init__("INTERNAL_ERROR", 200, message)


@dataclass(frozen=True)
class Version:
    """A model version as MLflow describes it. ``created`` is its registration time (ISO 8601)."""

    number: str
    run_id: str
    tags: Mapping[str, str]
    created: str | None


@dataclass(frozen=True)
class Limits:
    """Time limits of connecting and of one request."""

    connect_seconds: float
    request_seconds: float


class RegistryApi:
    """A client of one MLflow server. Safe to use from several threads. Its methods raise
    ``Unreachable`` and ``ApiError``.

    Only that server gets the password: no redirect is followed. Without ``trust_env`` the
    environment's proxies are not used.
    """

    def __init__(
        self,
        url: str,
        limits: Limits,
        *,
        username: str | None = None,
        password: SecretStr | None = None,
        trust_env: bool = True,
    ) -> None:
        self.url = url.rstrip("/")
        self._limits = limits
        self._username, self._password = username, password
        self._trust_env = trust_env
        # The id of each experiment that was found; ``heads.py`` forgets one that has nothing.
        self.experiment_ids: dict[str, str] = {}

    @property
    def shows_password(self) -> bool:
        return bool(self._username and self._password)

    @cached_property
    def _client(self) -> "httpx.Client":
        import httpx

        auth = (
            (self._username, self._password.get_secret_value())
            if self._username and self._password
            else None
        )
        timeout = httpx.Timeout(self._limits.request_seconds, connect=self._limits.connect_seconds)
        return httpx.Client(auth=auth, timeout=timeout, trust_env=self._trust_env)

    def close(self) -> None:
        """Close the client; a download in progress breaks off with its next piece."""
        if "_client" in self.__dict__:
            self._client.close()

    def at(self, model: str, alias: str) -> Version | None:
        """Return the version with the alias; ``None`` if there is no such model or alias."""
        try:
            return _version(
                self.ask("GET", "registered-models/alias", {"name": model, "alias": alias})
            )
        except ApiError as error:
            # MLflow answers INVALID_PARAMETER_VALUE if the model lacks the alias, and
            # DOES_NOT_EXIST if there is no model.
            if error.code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def version(self, model: str, number: str) -> Version:
        return _version(self.ask("GET", "model-versions/get", {"name": model, "version": number}))

    def versions(self, model: str, page: int = 1000) -> list[Version]:
        """Return all versions, fetched ``page`` at a time."""
        query = {"filter": f"name = '{model}'", "max_results": str(page)}
        with reading("its model versions have"):
            return [
                _version({"model_version": version})
                for answer in self._pages("model-versions/search", query)
                for version in answer.get("model_versions", [])
            ]

    def models(self, tags: Iterable[str], page: int = 200, most_pages: int = 10) -> list[str]:
        """Return the names of the models that have one of ``tags``, or whose latest version has
        one. A server that several teams share may have thousands of others, so only a few pages
        are read.
        """
        names_of_tags, names = set(tags), list[str]()
        pages = self._pages("registered-models/search", {"max_results": str(page)})
        with reading("its models have"):
            for answer in islice(pages, most_pages):
                for model in answer.get("registered_models", []):
                    carriers = [model, *model.get("latest_versions", [])]
                    if any(names_of_tags & tags_of(carrier).keys() for carrier in carriers):
                        names.append(str(model["name"]))
        return names

    def _pages(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            answer = self.ask("GET", path, {**query, **({"page_token": token} if token else {})})
            yield answer
            token = answer.get("next_page_token", "")
            if not token:
                return

    def set_alias(self, model: str, alias: str, number: str) -> None:
        self.ask(
            "POST", "registered-models/alias", {"name": model, "alias": alias, "version": number}
        )

    def remove_alias(self, model: str, alias: str) -> None:
        self.ask("DELETE", "registered-models/alias", {"name": model, "alias": alias})

    def tag_version(self, model: str, number: str, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self.ask(
                "POST",
                "model-versions/set-tag",
                {"name": model, "version": number, "key": key, "value": value},
            )

    def tag_model(self, model: str, tags: Mapping[str, str]) -> bool:
        """Return False if there is no such model."""
        try:
            for key, value in tags.items():
                self.ask(
                    "POST", "registered-models/set-tag", {"name": model, "key": key, "value": value}
                )
        except ApiError as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return True

    def model_tags(self, model: str) -> dict[str, str]:
        """Return the model's tags; none if there is no such model."""
        try:
            answer = self.ask("GET", "registered-models/get", {"name": model})
        except ApiError as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}
        with reading("its model has"):
            return tags_of(answer["registered_model"])

    @staticmethod
    def serves(package: str) -> bool:
        """Whether MLflow's server itself serves the files of the package's URI."""
        parts = urlsplit(package)
        return parts.scheme == "mlflow-artifacts" and not parts.netloc

    def files(self, package: str) -> list[str]:
        """Return the names of the files of the package's URI, which is one folder."""
        with self._reaching() as client:
            answer = client.get(f"{self.url}{_ARTIFACTS}", params={"path": _path_of(package)})
        listed = self._read(answer).get("files", [])
        with reading("its files have"):
            return [Path(file["path"]).name for file in listed if not file.get("is_dir")]

    def download(self, package: str, name: str, folder: Path) -> None:
        """Write the file ``name`` of the package's URI into ``folder``."""
        address = f"{self.url}{_ARTIFACTS}/{quote(f'{_path_of(package)}/{name}')}"
        with self._reaching() as client, client.stream("GET", address) as answer:
            if answer.status_code != 200:
                answer.read()
            _check(answer)
            with (folder / name).open("wb") as file:
                for piece in answer.iter_bytes():
                    file.write(piece)

    def delete_files(self, place: str) -> None:
        """Delete the file, or the folder with all that is in it, of a URI that ``serves``. What
        does not exist is no error.
        """
        with self._reaching() as client:
            answer = client.delete(f"{self.url}{_ARTIFACTS}/{quote(_path_of(place))}")
        if answer.status_code != 404:
            _check(answer)

    def search_runs(
        self, experiment: str, before: int, page: int = 1000, without_tag: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """The finished runs of an experiment that began before that time (ms since 1970), as MLflow
        describes them, or those without a tag; none if there is no such experiment.
        """
        untagged = f" AND tags.`{without_tag}` IS NULL" if without_tag else ""
        try:
            found = self.ask("GET", "experiments/get-by-name", {"experiment_name": experiment})
        except ApiError as error:
            if error.code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return
        with reading("its experiment has"):
            wanted: dict[str, Any] = {
                "experiment_ids": [found["experiment"]["experiment_id"]],
                "filter": f"attributes.start_time < {before}{untagged}",
                "order_by": ["attributes.start_time DESC"],
                "max_results": page,
            }
        token = ""
        while True:
            answer = self.ask("POST", "runs/search", {**wanted, "page_token": token})
            yield from answer.get("runs", [])
            token = answer.get("next_page_token", "")
            if not token:
                return

    def tag_run(self, run_id: str, key: str, value: str) -> None:
        self.ask("POST", "runs/set-tag", {"run_id": run_id, "key": key, "value": value})

    def ask(self, method: str, path: str, values: Mapping[str, Any]) -> dict[str, Any]:
        arguments: dict[str, Any] = {"params": values} if method == "GET" else {"json": values}
        with self._reaching() as client:
            answer = client.request(method, f"{self.url}{_API}/{path}", **arguments)
        return self._read(answer)

    @contextmanager
    def _reaching(self) -> Iterator["httpx.Client"]:
        import httpx

        try:
            yield self._client
        except (httpx.HTTPError, RuntimeError) as error:
            # RuntimeError: the client has been closed
            raise Unreachable(str(error) or type(error).__name__) from error

    def _read(self, answer: "httpx.Response") -> dict[str, Any]:
        _check(answer)
        try:
            body = answer.json()
        except ValueError as error:
            raise StrangeAnswer("its answer is not JSON") from error
        if not isinstance(body, dict):
            raise StrangeAnswer("its answer is not a JSON object")
        return body


def _check(answer: "httpx.Response") -> None:
    if answer.status_code == 200:
        return
    # Without one of MLflow's codes, the answer comes from a proxy before it, or from its login.
    code = _CODES.get(answer.status_code, "INTERNAL_ERROR")
    message = f"{answer.status_code} {answer.text[:200]}"
    if answer.status_code >= 400 and answer.status_code not in _CODES:
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            body = answer.json()
            code, message = str(body["error_code"]), str(body.get("message", ""))
    raise ApiError(code, answer.status_code, message)


def _path_of(package: str) -> str:
    return urlsplit(package).path.strip("/")


@contextmanager
def reading(subject: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StrangeAnswer(f"{subject} no {error}") from error


def _version(answer: Mapping[str, Any]) -> Version:
    with reading("its model version has"):
        version = answer["model_version"]
        return Version(
            str(int(version["version"])),
            version.get("run_id", ""),
            tags_of(version),
            _moment(version.get("creation_timestamp")),
        )


def _moment(milliseconds: object) -> str | None:
    """Return MLflow's milliseconds since 1970 as ISO 8601."""
    if not isinstance(milliseconds, int | str) or not int(milliseconds):
        return None
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC).isoformat(timespec="seconds")


def tags_of(entity: Mapping[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in entity.get("tags", [])}
