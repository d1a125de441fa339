"""The service's calls to MLflow: the models, the champion, and the files of its package."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from blocks.clients.heads import HeadRun, read_head_runs
from blocks.clients.registry import (
    CHAMPION,
    DIGEST_TAG,
    LEDGER_TAG,
    PACKAGE_TAG,
    ROLLOUT,
    TERMS_TAG,
    ApiError,
    Limits,
    RegistryApi,
    StrangeAnswer,
    Unreachable,
)
from blocks.settings import Settings
from serving.errors import PackageError, RegistryAway

_CONNECT_SECONDS = 2.0


@dataclass(frozen=True)
class Crowned:
    """The model version that the alias names, and its package: ``package`` is a URI, ``sha256`` of
    its manifest.

    ``created`` is when it was registered (ISO 8601); a package holds no time, so that it can be
    rebuilt to the byte. ``terms`` are those of its rollout, if it has the alias ``rollout``."""

    version: str
    package: str | None
    sha256: str | None
    created: str | None = None
    terms: str | None = None


class Registry:
    """MLflow, as far as it is a registry. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        timeout_seconds: float = 10.0,
        *,
        username: str | None = None,
        password: SecretStr | None = None,
    ) -> None:
        # The registry is an internal address: a proxy of the environment would only lose the
        # request.
        self._api = RegistryApi(
            url,
            Limits(min(_CONNECT_SECONDS, timeout_seconds), timeout_seconds),
            username=username,
            password=password,
            trust_env=False,
        )
        self.url = self._api.url

    @classmethod
    def of(cls, settings: Settings, timeout_seconds: float = 10.0) -> Self:
        return cls(
            settings.mlflow_tracking_uri,
            timeout_seconds,
            username=settings.mlflow_username,
            password=settings.mlflow_password,
        )

    def close(self) -> None:
        """A running download ends with its next piece, so that the end of the process does not wait
        for it.
        """
        self._api.close()

    def champion(self, model: str) -> Crowned | None:
        """``at`` for the alias ``champion``."""
        return self.at(model, CHAMPION)

    def at(self, model: str, alias: str) -> Crowned | None:
        """The version with an alias; ``None`` if there is no such model or no such alias.

        Raises ``RegistryAway`` if MLflow is unreachable or gives no sensible answer."""
        with self._translate_errors():
            version = self._api.at(model, alias)
        if version is None:
            return None
        tags = version.tags
        return Crowned(
            version.number,
            tags.get(PACKAGE_TAG),
            tags.get(DIGEST_TAG),
            version.created,
            tags.get(TERMS_TAG) if alias == ROLLOUT else None,
        )

    def models(self) -> list[str]:
        """Names of Laurel's registered models: their latest version has a package, or the model a
        ledger. Raises ``RegistryAway``.
        """
        with self._translate_errors():
            return self._api.models((LEDGER_TAG, PACKAGE_TAG))

    def head_runs(self, model: str, latest: int) -> list[HeadRun]:
        """The latest runs with the heads of the model's ledger. Raises ``RegistryAway``."""
        with self._translate_errors():
            return read_head_runs(self._api, model, latest)

    def download(self, package: str, names: tuple[str, ...], folder: Path) -> None:
        """Write the files ``names`` of the package's URI into ``folder``.

        Raises ``PackageError`` for a missing file or a URI that is not MLflow's, ``RegistryAway``
        otherwise."""
        if urlsplit(package).scheme != "mlflow-artifacts":
            raise PackageError(
                f"The package is at {package!r}; the service reads only mlflow-artifacts:/... "
                "Start MLflow with --artifacts-destination, so that it proxies artifacts."
            )
        for name in names:
            with self._translate_errors(name):
                self._api.download(package, name, folder)

    @contextmanager
    def _translate_errors(self, file: str = "") -> Iterator[None]:
        """Errors of an answer, or of the ``file`` of a package, as the service's own."""
        try:
            yield
        except Unreachable as error:
            trouble = f"broke off while sending {file}" if file else "cannot be reached"
            raise RegistryAway(f"MLflow at {self.url} {trouble}: {error}.") from error
        except StrangeAnswer as error:
            raise RegistryAway(f"{self.url} did not answer as MLflow does: {error}.") from error
        except ApiError as error:
            if file and error.status == 404:
                raise PackageError(
                    f"The package has no {file}: MLflow has no such artifact."
                ) from error
            raise RegistryAway(
                f"MLflow at {self.url} answers {error.status}{f' for {file}' if file else ''}"
                f"{self._hint(error.status)}."
            ) from error

    def _hint(self, status: int) -> str:
        if status not in (401, 403):
            return ""
        names = "LAUREL_MLFLOW_USERNAME and LAUREL_MLFLOW_PASSWORD"
        return (
            f": it does not accept {names}"
            if self._api.shows_password
            else f": it requires a password; set {names}"
        )
