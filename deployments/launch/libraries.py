"""The libraries that the warm parent imports: what flows and other libraries import as a run needs
it, such as MLflow with the first model that it logs, and what Prefect imports as a run begins.
"""

LIBRARIES = (
    "prefect.artifacts",
    "prefect.deployments.steps.core",
    "prefect.deployments.steps.pull",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect_aws",
    "boto3.s3.inject",
    "git",
    "markdown_it",
    "matplotlib.backends.backend_agg",
    "matplotlib.pyplot",
    "mlflow.models.display_utils",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "mlflow.tracking.request_header.registry",
    "numpy.random",
    "onnxruntime",
    "optuna",
    "pandera.backends.polars.builtin_checks",
    "pandera.polars",
    "polars",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "scipy.stats",
    "skl2onnx",
    "sklearn.ensemble",
    "skops.io",
)
