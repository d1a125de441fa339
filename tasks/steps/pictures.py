"""Pictures on the page of a run."""

import base64

from prefect.artifacts import create_image_artifact

from tasks.outside.blocks_of_run import artifact_key


def show_picture(use_case: str, name: str, picture: bytes, description: str) -> None:
    """The PNG ``picture`` as an artifact that needs no other server to be seen."""
    create_image_artifact(
        f"data:image/png;base64,{base64.b64encode(picture).decode()}",
        key=artifact_key(use_case, name),
        description=description,
    )
