"""``python -m serving``: the model service as one process, or as the parent of several workers.

python -m serving                                  LAUREL_SERVING_WORKERS says how many
python -m serving <listening socket> <line>        a worker, as serving/supervisor.py starts it
"""

import gc
import logging
import socket
import sys
from typing import TYPE_CHECKING

from blocks.settings import Settings
from serving.admission import keys_needed
from serving.errors import KeysError
from serving.keys import Keys
from serving.supervisor import become_parent
from serving.workers import begin_run, folder_of

if TYPE_CHECKING:
    from serving.server import Server


def main(arguments: list[str]) -> int:
    """The exit code."""
    gc.disable()  # until all is loaded: what the imports make is no garbage
    line = None
    try:
        settings = Settings.read()
        if arguments:
            listener, line = (socket.socket(fileno=int(number)) for number in arguments)
        else:
            # Before anybody can connect, and once for all workers.
            Keys(settings.serving_keys_path, keys_needed(settings.host, settings.serving_require_keys)).load(settings.host)
            listener = _listen(settings)
            begin_run(folder_of(settings))
            if settings.serving_workers > 1:
                become_parent(listener, settings.serving_workers)
        server = _server(settings, line)
    except (ValueError, OSError, KeysError) as error:
        print(f"The model service does not start: {error}", file=sys.stderr)
        return 1
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        return 130
    return 0


def _listen(settings: Settings) -> socket.socket:
    """Raises ``OSError`` that names the address. Callers may connect from now on; they are answered when all is loaded."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.serving_port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(
            f"it cannot listen on {settings.host} port {settings.serving_port} ({error.strerror or error}); "
            "set LAUREL_HOST or LAUREL_SERVING_PORT to others."
        ) from error


def _server(settings: Settings, line: socket.socket | None) -> "Server":
    """Raises ``ValueError`` for settings that cannot be."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each look at the alias tells nobody anything
    # While another thread computes, an answer waits this long for the interpreter, at each of its steps (default: 5 ms).
    sys.setswitchinterval(0.002)
    from serving.server import Server, uvicorn_config

    return Server(uvicorn_config(settings), line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
