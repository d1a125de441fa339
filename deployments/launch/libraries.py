"""The libraries that the warm parent imports: what flows import inside their tasks, and what
Prefect imports as a run begins.
"""

LIBRARIES = (
    "prefect.artifacts",
    "prefect.deployments.steps.core",
    "prefect.deployments.steps.pull",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect_aws",
    "boto3",
    "evidently",
    "matplotlib.pyplot",
    "mlflow.sklearn",
    "numpy.random",
    "onnxruntime",
    "optuna",
    "pandera.polars",
    "polars",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "scipy.stats",
    "skl2onnx",
    "sklearn.ensemble",
    "skops.io",
)
