"""The registry: MLflow's runs, model versions and aliases, as the flows need them.

A use case is one MLflow experiment and one registered model of the same name. The alias
``champion`` names the version that serves, ``challenger`` the one that wants to. A version's
package lies beside its run's model, under ``package/``; the version's tags ``laurel.package`` and
``laurel.package_sha256`` hold its place and its digest."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from prefect.blocks.core import Block
from pydantic import Field, PrivateAttr, SecretStr

from blocks.clients.heads import HeadRun, log_head, open_head_run, read_head_runs
from blocks.clients.registry import (
    DIGEST_TAG,
    PACKAGE_TAG,
    TIDIED_TAG,
    ApiError,
    Limits,
    RegistryApi,
    Unreachable,
    Version,
)
from blocks.run_datasets import RunDataset
from blocks.saved_models import requirements_of, saved_types
from blocks.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from sklearn.pipeline import Pipeline

BLOCK = "registry"
_LIMITS = Limits(connect_seconds=3, request_seconds=30)
_KEPT_MODELS, _KEPT_BYTES = 4, 50_000_000  # of those that were just logged, and of each


class RegistryAway(ConnectionError):
    """MLflow is unreachable; a retry may help. The message has its address."""


class RegistryError(RuntimeError):
    """MLflow refused the request: no such version, no package. A retry does not help."""


@dataclass(frozen=True)
class ModelVersion:
    """One version of a use case's model. ``number`` is MLflow's, as text; ``created`` is when it
    was registered (ISO 8601), where MLflow was asked for it.
    """

    use_case: str
    number: str
    run_id: str
    tags: Mapping[str, str]
    created: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Run:
    """One MLflow run: the parameters of a fit, and its metrics."""

    id: str
    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


class _UntriedFlavor:
    """What ``mlflow.sklearn`` saves. MLflow's own ``log_model`` then loads the model again and asks
    it about the example, only to warn: a package is proven on more rows. ``size`` is in bytes."""

    size = 0

    def save_model(
        self, path: str, mlflow_model: Any, validate_serving_input: bool, **saved: Any
    ) -> None:
        import mlflow.sklearn

        mlflow.sklearn.save_model(path=path, mlflow_model=mlflow_model, **saved)
        self.size = mlflow_model.model_size_bytes or 0


class ModelRegistry(Block):
    """An MLflow server, for tracking and as registry."""

    _block_type_name = "Laurel model registry"
    _block_type_slug = "laurel-model-registry"
    _description = "The MLflow server that tracks runs and holds champions."

    tracking_uri: str = Field(description="address of the MLflow server")
    page_url: str | None = Field(
        default=None, description="address of its pages for people, if different"
    )
    username: str | None = Field(default=None, description="user of MLflow, if it requires one")
    password: SecretStr | None = Field(default=None, description="that user's password")
    _just_logged: "dict[str, Pipeline]" = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            tracking_uri=settings.mlflow_tracking_uri,
            page_url=settings.mlflow_page_url,
            username=settings.mlflow_username,
            password=settings.mlflow_password,
        )

    @cached_property
    def _client(self) -> "MlflowClient":
        import mlflow
        from mlflow.environment_variables import MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_USERNAME

        if self.username and self.password:
            # MLflow's library has no other way; it reads them at each request.
            MLFLOW_TRACKING_USERNAME.set(self.username)
            MLFLOW_TRACKING_PASSWORD.set(self.password.get_secret_value())
        mlflow.set_tracking_uri(self.tracking_uri)
        return mlflow.MlflowClient(self.tracking_uri, self.tracking_uri)

    @cached_property
    def _api(self) -> RegistryApi:
        return RegistryApi(
            self.tracking_uri, _LIMITS, username=self.username, password=self.password
        )

    @contextmanager
    def _ask(self, action: str) -> Iterator[RegistryApi]:
        """MLflow's registry, without its library."""
        try:
            yield self._api
        except ApiError as error:
            if error.is_outage:
                raise RegistryAway(
                    f"MLflow at {self.tracking_uri} could not {action}: {str(error)[:300]}"
                ) from error
            raise self._refusal(action, error.code, str(error)) from error
        except Unreachable as error:
            raise RegistryAway(
                f"MLflow at {self.tracking_uri} could not {action}: {error}"
            ) from error

    @contextmanager
    def api(self, action: str) -> Iterator[RegistryApi]:
        """MLflow's API, for what ``action`` says. Raises ``RegistryAway``, ``RegistryError``."""
        with self._ask(action) as api:
            yield api

    @contextmanager
    def _reach(self, action: str) -> Iterator["MlflowClient"]:
        """MLflow's library, for runs and models."""
        import requests
        from mlflow.exceptions import MlflowException

        try:
            yield self._client
        except MlflowException as error:
            # A refusal carries one of MLflow's codes; a failed connection is an internal error
            # of its client.
            if error.error_code in (
                "INTERNAL_ERROR",
                "TEMPORARILY_UNAVAILABLE",
                "REQUEST_LIMIT_EXCEEDED",
            ):
                raise RegistryAway(
                    f"MLflow at {self.tracking_uri} could not {action}: {str(error)[:300]}"
                ) from error
            raise self._refusal(action, error.error_code, error.message) from error
        except requests.RequestException as error:
            raise RegistryAway(
                f"MLflow at {self.tracking_uri} could not {action}: {error}"
            ) from error

    def _refusal(self, action: str, code: str, message: str) -> RegistryError:
        if code == "UNAUTHENTICATED":
            way = (
                "Set LAUREL_MLFLOW_USERNAME and LAUREL_MLFLOW_PASSWORD, and run "
                "python -m deployments.apply."
            )
            return RegistryError(
                f"MLflow at {self.tracking_uri} rejected the password and did not {action}. {way}"
            )
        return RegistryError(f"MLflow refused to {action}: {message}")

    def log_run(
        self,
        use_case: str,
        name: str,
        *,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        model: "Pipeline | None" = None,
        example: "pd.DataFrame | None" = None,
        figures: "Mapping[str, Figure] | None" = None,
        texts: Mapping[str, str] | None = None,
        package: Path | None = None,
        datasets: Sequence[RunDataset] = (),
        note: str = "",
    ) -> str:
        """Write one finished run and return its id. The signature and input example of ``model``
        come from ``example``; ``note`` is Markdown for the run's page.
        """
        import mlflow

        with self._reach(f"log the run {name!r}"):
            mlflow.set_experiment(use_case)
            with mlflow.start_run(run_name=name, tags=dict(tags), description=note) as run:
                mlflow.log_params(dict(params), synchronous=True)
                mlflow.log_metrics(dict(metrics), synchronous=True)
                for path, figure in (figures or {}).items():
                    mlflow.log_figure(figure, path)
                for path, text in (texts or {}).items():
                    mlflow.log_text(text, path)
                if datasets:
                    self._client.log_inputs(run.info.run_id, [one.as_input() for one in datasets])
                if model is not None:
                    size = self._log_model(model, example)
                if package is not None:
                    mlflow.log_artifacts(str(package), "package")
        if model is not None and size <= _KEPT_BYTES:
            self._just_logged[run.info.run_id] = model
            for oldest in list(self._just_logged)[:-_KEPT_MODELS]:
                del self._just_logged[oldest]
        return run.info.run_id

    def _log_model(self, model: "Pipeline", example: "pd.DataFrame | None") -> int:
        """Log it, and return its size in bytes."""
        from mlflow.models import Model, infer_signature

        types, strangers = saved_types(model)
        if strangers:
            raise RegistryError(
                "The pipeline contains types of no supported library, which cannot be saved: "
                f"{strangers}."
            )
        answers = "predict_proba" if hasattr(model, "predict_proba") else "predict"
        flavor = _UntriedFlavor()
        Model.log(
            None,
            flavor,
            name="model",
            flavor_name="mlflow.sklearn",
            validate_serving_input=False,
            sk_model=model,
            signature=infer_signature(example, getattr(model, answers)(example))
            if example is not None
            else None,
            input_example=example,
            pip_requirements=requirements_of(types),
            skops_trusted_types=types,
            pyfunc_predict_fn=answers,
        )
        return flavor.size

    def load_model(self, run_id: str) -> "Pipeline":
        """The fitted pipeline of a run: of one that this process has just logged, that one."""
        import mlflow.sklearn

        if run_id in self._just_logged:
            return self._just_logged[run_id]
        with self._reach(f"load the model of run {run_id}"):
            return mlflow.sklearn.load_model(f"runs:/{run_id}/model")

    def run(self, run_id: str) -> Run:
        with self._reach(f"read the run {run_id}") as client:
            return _run(client.get_run(run_id))

    def runs(self, use_case: str, tags: Mapping[str, str]) -> list[Run]:
        """Finished runs of the use case that carry all ``tags``, newest first."""
        with self._reach(f"search runs of {use_case!r}") as client:
            experiment = client.get_experiment_by_name(use_case)
            if experiment is None:
                return []
            condition = " and ".join(
                [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
                + ["attributes.status = 'FINISHED'"]
            )
            return [
                _run(run)
                for run in client.search_runs(
                    [experiment.experiment_id], condition, order_by=["attributes.start_time DESC"]
                )
            ]

    def add_to_run(
        self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        """Record what is only known after a run ended, such as its score on the hold-out."""
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        measured = [Metric(key, value, now, 0) for key, value in metrics.items()]
        with self._reach(f"add to the run {run_id}") as client:
            client.log_batch(
                run_id, measured, [], [RunTag(key, value) for key, value in tags.items()]
            )

    def log_datasets(self, run_id: str, *datasets: RunDataset) -> None:
        """Name datasets that a run used after it ended, such as its hold-out."""
        with self._reach(f"log datasets of the run {run_id}") as client:
            client.log_inputs(run_id, [dataset.as_input() for dataset in datasets])

    def log_figure(self, run_id: str, figure: "Figure", path: str) -> None:
        """Put a figure beside the run's model."""
        with self._reach(f"log a figure of the run {run_id}") as client:
            client.log_figure(run_id, figure, path)

    def log_package(self, run_id: str, package: Path, figures: "Mapping[str, Figure]") -> None:
        """Put the package folder and figures beside the run's model."""
        with self._reach(f"log the package of run {run_id}") as client:
            client.log_artifacts(run_id, str(package), "package")
            for path, figure in figures.items():
                client.log_figure(run_id, figure, path)

    def log_texts(self, run_id: str, texts: Mapping[str, str]) -> None:
        """Put texts beside the run's model, by path."""
        with self._reach(f"log texts of run {run_id}") as client:
            for path, text in texts.items():
                client.log_text(run_id, text, path)

    def register(
        self,
        use_case: str,
        run_id: str,
        package_sha256: str,
        tags: Mapping[str, str],
        description: str,
        about: str = "",
    ) -> ModelVersion:
        """Register a version of the run's model. It is complete, with tags and package, before an
        alias points to it.

        ``description`` belongs to the version; ``about`` describes the model and is used with its
        first version."""
        from mlflow.exceptions import MlflowException

        with self._reach(f"register a version of {use_case!r}") as client:
            try:
                client.create_registered_model(use_case, description=about)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            run = client.get_run(run_id)
            models = client.search_logged_models(
                [run.info.experiment_id], f"source_run_id = '{run_id}'"
            )
            source = models[0].model_uri if models else f"{run.info.artifact_uri}/model"
            model_id = models[0].model_id if models else None
            whole = {
                **tags,
                PACKAGE_TAG: f"{run.info.artifact_uri}/package",
                DIGEST_TAG: package_sha256,
            }
            version = client.create_model_version(
                use_case,
                source,
                run_id=run_id,
                tags=whole,
                description=description,
                model_id=model_id,
            )
        return ModelVersion(use_case, str(version.version), run_id, whole)

    def add_to_description(self, version: ModelVersion, text: str) -> None:
        """Add a paragraph to what the version's page says, once."""
        with self._reach(f"describe version {version.number} of {version.use_case!r}") as client:
            before = client.get_model_version(version.use_case, version.number).description or ""
            if text not in before:
                whole = f"{before}\n\n{text}".strip()
                client.update_model_version(version.use_case, version.number, whole)

    def at(self, use_case: str, alias: str) -> ModelVersion | None:
        """Return the version that has the alias, or ``None``."""
        with self._ask(f"find the {alias} of {use_case!r}") as api:
            version = api.at(use_case, alias)
        return _version(use_case, version) if version else None

    def version(self, use_case: str, number: str) -> ModelVersion:
        """Raises ``RegistryError`` if there is no such version."""
        with self._ask(f"find version {number} of {use_case!r}") as api:
            return _version(use_case, api.version(use_case, number))

    def versions(self, use_case: str) -> list[ModelVersion]:
        """Return all versions, newest first; none if the use case has no model yet."""
        with self._ask(f"list the versions of {use_case!r}") as api:
            versions = api.versions(use_case)
        newest_first = sorted(versions, key=lambda version: int(version.number), reverse=True)
        return [_version(use_case, version) for version in newest_first]

    def set_alias(self, version: ModelVersion, alias: str) -> None:
        with self._ask(f"make version {version.number} of {version.use_case!r} its {alias}") as api:
            api.set_alias(version.use_case, alias, version.number)

    def remove_alias(self, use_case: str, alias: str) -> None:
        with self._ask(f"remove the alias {alias} from {use_case!r}") as api:
            api.remove_alias(use_case, alias)

    def tag(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        with self._ask(f"tag version {version.number} of {version.use_case!r}") as api:
            api.tag_version(version.use_case, version.number, tags)

    def tag_model(self, use_case: str, tags: Mapping[str, str]) -> bool:
        """Tag the model itself, not a version. Return False if the use case has no model yet."""
        with self._ask(f"tag the model {use_case!r}") as api:
            return api.tag_model(use_case, tags)

    def model_tags(self, use_case: str) -> Mapping[str, str]:
        """Return the tags of the model itself; none if the use case has no model yet."""
        with self._ask(f"read the model {use_case!r}") as api:
            return api.model_tags(use_case)

    def head_runs(
        self, use_case: str, latest: int | None = None, *, deleted: bool = False
    ) -> list[HeadRun]:
        """Return the runs with the heads of the ledger, the newest first: all of them, or as many
        as have the ``latest`` heads; those that are there, or the ``deleted`` ones."""
        with self._ask(f"read the heads of the ledger of {use_case!r}") as api:
            return read_head_runs(api, use_case, latest, deleted=deleted)

    def open_head_run(self, use_case: str, generation: int, base: str) -> str:
        """Create the run that takes the next heads. Returns its id."""
        with self._ask(f"open a run for the heads of the ledger of {use_case!r}") as api:
            return open_head_run(api, use_case, generation, base)

    def log_head(self, run_id: str, key: str, value: str) -> None:
        """Write a head once. Raises ``RegistryError`` if it has another value."""
        with self._ask(f"write the head {key} to the run {run_id}") as api:
            log_head(api, run_id, key, value)

    def download_package(self, version: ModelVersion, folder: Path) -> Path:
        """Download the version's package into a new folder below ``folder``. Raises
        ``RegistryError`` if the version has none.
        """
        if PACKAGE_TAG not in version.tags:
            raise RegistryError(
                f"Version {version.number} of {version.use_case!r} has no model package: it "
                "was not registered by Laurel."
            )
        if TIDIED_TAG in version.tags:
            raise RegistryError(
                f"The package of version {version.number} of {version.use_case!r} was removed on "
                f"{version.tags[TIDIED_TAG][:10]}: it never served, and "
                "LAUREL_KEEP_CHALLENGERS_DAYS had passed. Restore it from a backup "
                "(docs/operations.md), or train again."
            )
        action = f"download the package of {version.use_case!r} version {version.number}"
        package = version.tags[PACKAGE_TAG]
        if RegistryApi.serves(package):
            target = folder / "package"
            target.mkdir(parents=True)
            with self._ask(action) as api:
                for name in api.files(package):
                    api.download(package, name, target)
            return target
        with self._reach(action) as client:
            return Path(client.download_artifacts(version.run_id, "package", str(folder)))

    def run_url(self, run_id: str) -> str:
        """Address of the run's page in MLflow's UI."""
        with self._reach(f"read the run {run_id}") as client:
            experiment = client.get_run(run_id).info.experiment_id
        return self._page(f"experiments/{experiment}/runs/{run_id}")

    def artifact_url(self, run_id: str, path: str) -> str:
        """Address of the page that shows one artifact of a run."""
        with self._reach(f"read the run {run_id}") as client:
            experiment = client.get_run(run_id).info.experiment_id
        return self._page(f"experiments/{experiment}/runs/{run_id}/artifacts/{path}")

    def file_url(self, run_id: str, path: str) -> str:
        """Address of an artifact's bytes, such as those of a picture."""
        return f"{self._server}/get-artifact?{urlencode({'path': path, 'run_uuid': run_id})}"

    def version_url(self, version: ModelVersion) -> str:
        """Address of the version's page in MLflow's UI."""
        return self._page(f"models/{version.use_case}/versions/{version.number}")

    def model_url(self, use_case: str) -> str:
        """Address of the page that lists the use case's versions."""
        return self._page(f"models/{use_case}")

    def _page(self, path: str) -> str:
        # Without the type, MLflow's UI opens as a tool for prompts, and its menu has no models.
        return f"{self._server}/#/{path}?workflowType=machine_learning"

    @property
    def _server(self) -> str:
        return (self.page_url or self.tracking_uri).rstrip("/")


def _version(use_case: str, version: Version) -> ModelVersion:
    return ModelVersion(use_case, version.number, version.run_id, version.tags, version.created)


def _run(run: Any) -> Run:
    return Run(
        run.info.run_id,
        run.info.run_name,
        dict(run.data.params),
        dict(run.data.metrics),
        dict(run.data.tags),
    )
