"""A stack of its own for a measurement."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blocks.settings import Settings


@contextmanager
def own_stack() -> Iterator["Settings"]:
    """A stack with all deployments in a folder of its own, in force in this process's
    environment.
    """
    from blocks.settings import Settings
    from deployments.apply.command import apply_now
    from deployments.local import stack
    from deployments.servers.environment import environment

    ports = {
        "LAUREL_PREFECT_PORT": "4290",
        "LAUREL_MLFLOW_PORT": "5090",
        "LAUREL_S3_PORT": "8390",
        "LAUREL_SERVING_PORT": "5091",
    }
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {**ports, "LAUREL_STATE": folder}
        start = time.perf_counter()
        settings = stack.up(Settings.read())
        print(f"stack ready: {time.perf_counter() - start:.1f} s")
        try:
            os.environ |= environment(settings)
            start = time.perf_counter()
            apply_now(settings)
            print(f"deployments applied: {time.perf_counter() - start:.1f} s")
            yield settings
        finally:
            stack.down(settings)
