"""What the service asks of MLflow, over its REST API: which models there are, who is champion, and
the files of its package.

MLflow's own client costs two seconds of imports and 100 MB (docs/decisions); three kinds of GET
request are all that is needed. httpx is imported with the first of them, on the watch's thread: it
costs as long as ONNX Runtime, and the first answer need not wait."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from blocks.settings import Settings
from serving.errors import PackageError, RegistryAway

if TYPE_CHECKING:
    import httpx

CHAMPION = "champion"  # an alias in the registry, and so the role of the version that has it
PACKAGE_TAG = "laurel.package"
DIGEST_TAG = "laurel.package_sha256"
LEDGER_TAG = "laurel.ledger"
_PAGE = 200
_MOST_PAGES = 10


@dataclass(frozen=True)
class Crowned:
    """The model version that the alias names, and where its package is: ``package`` is a URI,
    ``sha256`` of its manifest.

    ``created`` is when it was registered (ISO 8601); a package says nothing of time, so that it can
    be made again to the byte."""

    version: str
    package: str | None
    sha256: str | None
    created: str | None = None


class Registry:
    """A client of one MLflow server. Safe to use from several threads.

    ``username`` and ``password`` are shown to that server and to no other: no redirect is followed.
    """

    def __init__(
        self,
        url: str,
        timeout_seconds: float = 10.0,
        *,
        username: str | None = None,
        password: SecretStr | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._username, self._password = username, password

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            settings.mlflow_tracking_uri,
            username=settings.mlflow_username,
            password=settings.mlflow_password,
        )

    @cached_property
    def _client(self) -> "httpx.Client":
        import httpx

        # trust_env=False: the registry is an inner address, a proxy from the environment would only
        # lose the request.
        auth = (
            (self._username, self._password.get_secret_value())
            if self._username and self._password
            else None
        )
        return httpx.Client(
            timeout=httpx.Timeout(self._timeout_seconds, connect=2.0), auth=auth, trust_env=False
        )

    def close(self) -> None:
        """A download that is going on breaks off with its next piece, so that the end of the
        process does not wait for it.
        """
        if "_client" in self.__dict__:
            self._client.close()

    def champion(self, model: str) -> Crowned | None:
        """As ``at`` says of the alias ``champion``."""
        return self.at(model, CHAMPION)

    def at(self, model: str, alias: str) -> Crowned | None:
        """The version with an alias; ``None`` where there is no such model or no such alias.

        Raises ``RegistryAway`` where MLflow cannot be reached or gives no sensible answer.
        """
        answer = self._get(
            "/api/2.0/mlflow/registered-models/alias", {"name": model, "alias": alias}
        )
        if answer.status_code in (400, 404) and self._has_no_champion(answer):
            return None
        body = self._json(answer)
        try:
            found = body["model_version"]
            tags = {tag["key"]: tag.get("value", "") for tag in found.get("tags", [])}
            created = _moment(found.get("creation_timestamp"))
            return Crowned(
                str(int(found["version"])), tags.get(PACKAGE_TAG), tags.get(DIGEST_TAG), created
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RegistryAway(
                f"{self.url} did not answer as MLflow does: its model version has no {error}."
            ) from error

    @staticmethod
    def _has_no_champion(answer: "httpx.Response") -> bool:
        """Whether it is MLflow that says so: any other program, or a wrong path, answers 404 as
        well.
        """
        try:
            code = answer.json()["error_code"]
        except (ValueError, KeyError, TypeError):
            return False
        return code in (
            "RESOURCE_DOES_NOT_EXIST",
            "INVALID_PARAMETER_VALUE",
        )  # no such model; no such alias

    def models(self) -> list[str]:
        """Names of the registered models that are Laurel's: their latest version has a package, or
        the model a ledger.

        Raises ``RegistryAway``. A server that several teams share may hold thousands of others: a
        few pages are read."""
        names, token = list[str](), ""
        for _ in range(_MOST_PAGES):
            query = {"max_results": str(_PAGE)} | ({"page_token": token} if token else {})
            body = self._json(self._get("/api/2.0/mlflow/registered-models/search", query))
            try:
                for model in body.get("registered_models", []):
                    tags = [
                        *model.get("tags", []),
                        *(
                            tag
                            for one in model.get("latest_versions", [])
                            for tag in one.get("tags", [])
                        ),
                    ]
                    if {LEDGER_TAG, PACKAGE_TAG} & {tag["key"] for tag in tags}:
                        names.append(str(model["name"]))
            except (KeyError, TypeError, AttributeError) as error:
                raise RegistryAway(
                    f"{self.url} did not answer as MLflow does: its models have no {error}."
                ) from error
            token = body.get("next_page_token", "")
            if not token:
                break
        return names

    def download(self, package: str, names: tuple[str, ...], folder: Path) -> None:
        """Write the files ``names`` of the package's URI into ``folder``.

        Raises ``PackageError`` for a file that is not there or a URI that is not MLflow's,
        ``RegistryAway`` otherwise."""
        parts = urlsplit(package)
        if parts.scheme != "mlflow-artifacts":
            raise PackageError(
                f"The package lies at {package!r}; the service reads mlflow-artifacts:/... only. "
                "Start MLflow with --artifacts-destination, so that it proxies artifacts."
            )
        for name in names:
            path = quote(f"{parts.path.strip('/')}/{name}")
            self._stream(f"/api/2.0/mlflow-artifacts/artifacts/{path}", folder / name)

    def _get(self, path: str, query: dict[str, str]) -> "httpx.Response":
        import httpx

        try:
            return self._client.get(self.url + path, params=query)
        except (
            httpx.HTTPError,
            RuntimeError,
        ) as error:  # RuntimeError: the client was closed meanwhile
            raise RegistryAway(
                f"MLflow at {self.url} cannot be reached: {_reason(error)}."
            ) from error

    def _json(self, answer: "httpx.Response") -> dict[str, Any]:
        if answer.status_code != 200:
            raise RegistryAway(
                f"MLflow at {self.url} answers "
                f"{answer.status_code}{self._way_out(answer.status_code)}."
            )
        try:
            body = answer.json()
        except ValueError as error:
            raise RegistryAway(f"{self.url} did not answer as MLflow does: no JSON.") from error
        if not isinstance(body, dict):
            raise RegistryAway(f"{self.url} did not answer as MLflow does: no JSON object.")
        return body

    def _stream(self, path: str, target: Path) -> None:
        import httpx

        try:
            with self._client.stream("GET", self.url + path) as answer:
                if answer.status_code == 404:
                    raise PackageError(
                        f"The package has no {target.name}: MLflow knows no such artifact."
                    )
                if answer.status_code != 200:
                    raise RegistryAway(
                        f"MLflow at {self.url} answers {answer.status_code} for "
                        f"{target.name}{self._way_out(answer.status_code)}."
                    )
                with target.open("wb") as file:
                    for piece in answer.iter_bytes():
                        file.write(piece)
        except (
            httpx.HTTPError,
            RuntimeError,
        ) as error:  # RuntimeError: the client was closed meanwhile
            raise RegistryAway(
                f"MLflow at {self.url} broke off while sending {target.name}: {_reason(error)}."
            ) from error

    def _way_out(self, status: int) -> str:
        if status not in (401, 403):
            return ""
        names = "LAUREL_MLFLOW_USERNAME and LAUREL_MLFLOW_PASSWORD"
        return (
            f": {names} are not what it asks for"
            if self._username
            else f": it asks for a password; set {names}"
        )


def _moment(milliseconds: object) -> str | None:
    """MLflow's milliseconds since 1970 as ISO 8601."""
    if not isinstance(milliseconds, int | str) or not int(milliseconds):
        return None
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC).isoformat(timespec="seconds")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
