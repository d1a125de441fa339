"""Pictures on the page of a run."""

import base64

from prefect.artifacts import create_markdown_artifact

from tasks.outside.blocks_of_run import artifact_key


def show_picture(use_case: str, name: str, picture: bytes, description: str) -> None:
    """The PNG ``picture`` as an artifact that needs no other server to be seen.

    Within Markdown: below an image artifact, Prefect prints its address, which would be the whole
    picture in base64."""
    content = base64.b64encode(picture).decode()
    create_markdown_artifact(
        f"{description}\n\n![{description}](data:image/png;base64,{content})",
        key=artifact_key(use_case, name),
        description=description,
    )
