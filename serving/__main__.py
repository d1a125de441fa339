"""``python -m serving``: the model service as a process."""

import logging
import sys

import uvicorn

from blocks.settings import Settings
from serving.app import create_app

_DRAIN_SECONDS = 8


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each look at the alias tells nobody anything
    # While the uploader's thread computes, an answer waits this long for the interpreter, at each of its steps (default: 5 ms).
    sys.setswitchinterval(0.0005)
    settings = Settings.read()
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.serving_port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


if __name__ == "__main__":
    main()
