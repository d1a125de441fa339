"""SageMaker's contract: what the argument ``serve`` changes (``python -m serving serve``).

SageMaker runs an image as ``docker run <image> serve``, asks ``GET /ping`` and sends ``POST
/invocations`` to port 8080. Nobody else reaches that container, and whoever calls the endpoint has
passed IAM. SageMaker sends no key, so ``/invocations`` requires none; all other routes still do
(``/ping`` and the other open routes never did). Only the argument switches this on: no setting can
remove the lock by accident.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

from pathlib import Path

from blocks.settings import Settings
from serving.outside.lake import NO_LAKE

ARGUMENT = "serve"
OPEN_PATH = "/invocations"
MODEL_FOLDER = Path("/opt/ml/model")


def settings_for(settings: Settings) -> Settings:
    """Listen on every address at SageMaker's port, serve its model if there is one, and keep no
    prediction log unless ``LAUREL_LAKE`` names a lake.
    """
    from serving.package.manifest import (
        MANIFEST,
    )  # imports NumPy, which only SageMaker's mode needs here

    changed: dict[str, object] = {
        "host": "0.0.0.0",  # noqa: S104 - all of a container
        "serving_port": settings.sagemaker_bind_to_port,
    }
    if settings.serving_model_folder is None and (MODEL_FOLDER / MANIFEST).exists():
        changed["serving_model_folder"] = MODEL_FOLDER
    if "lake" not in settings.model_fields_set:
        changed["lake"] = NO_LAKE
    return settings.model_copy(update=changed)
