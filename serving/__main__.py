"""``python -m serving``: the model service as one process, or as the parent of several workers.

python -m serving                                  LAUREL_SERVING_WORKERS says how many
python -m serving serve                            as SageMaker starts it: serving/sagemaker.py
python -m serving [serve] <listening socket> <line>    a worker, as serving/server/supervisor.py
                                                       starts it
"""

import gc
import logging
import socket
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from blocks.settings import Settings
from serving import sagemaker
from serving.champions.use_cases import refuse_misspelled
from serving.edge.log_output import begin_log
from serving.errors import KeysError, PackageError
from serving.keys.admission import keys_of
from serving.outside.registry import Registry
from serving.server.supervisor import become_parent
from serving.service.workers import begin_run, folder_of

if TYPE_CHECKING:
    from serving.server.server import Server


def main(arguments: list[str]) -> int:
    """Run the service, and return the exit code."""
    gc.disable()  # until all is loaded: the imports make no garbage
    mode = [sagemaker.ARGUMENT] if arguments[:1] == [sagemaker.ARGUMENT] else []
    sockets, line, open_path = arguments[len(mode) :], None, sagemaker.OPEN_PATH if mode else None
    try:
        settings = _settings(for_sagemaker=bool(mode))
        if sockets:
            listener, line = _inherit(sockets)
        else:
            # Before anybody can connect, and once for all workers.
            keys_of(settings, may_lack=open_path is not None).load(settings.host)
            if settings.serving_model_folder is None:
                with closing(Registry.of(settings)) as registry:
                    refuse_misspelled(settings, registry)
            listener = _listen(settings)
            begin_run(folder_of(settings))
            if settings.serving_workers > 1:
                become_parent(
                    listener, settings.serving_workers, settings.serving_leave_seconds, mode
                )
        server = _server(settings, line, open_path)
    except (ValueError, OSError, KeysError, PackageError) as error:
        print(f"The model service does not start: {error}", file=sys.stderr)
        return 1
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        return 130
    return 0


def _settings(*, for_sagemaker: bool) -> Settings:
    """Read the settings. Raises ``ValueError``, or ``PackageError`` if the model folder has no
    package.
    """
    settings = Settings.read()
    if for_sagemaker:
        settings = sagemaker.settings_for(settings)
    if settings.serving_model_folder is not None:
        from serving.outside.model_folder import use_case_in

        settings = settings.model_copy(
            update={"serving_use_cases": use_case_in(settings.serving_model_folder)}
        )
    return settings


def _inherit(arguments: list[str]) -> tuple[socket.socket, socket.socket]:
    """Return a worker's listening socket and line. Raises ``ValueError`` for other arguments."""
    if len(arguments) != 2 or not all(number.isdigit() for number in arguments):
        raise ValueError(
            f"the only argument is '{sagemaker.ARGUMENT}' (for SageMaker), but it got "
            f"{' '.join(arguments)!r}."
        )
    listener, line = (socket.socket(fileno=int(number)) for number in arguments)
    return listener, line


def _listen(settings: Settings) -> socket.socket:
    """Listen on the settings' address; callers are answered once all is loaded. Raises ``OSError``
    naming it.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server(
            (settings.host, settings.serving_port), family=family, backlog=2048
        )
    except OSError as error:
        raise OSError(
            f"it cannot listen on {settings.host} port {settings.serving_port} "
            f"({error.strerror or error}); "
            "change LAUREL_HOST or LAUREL_SERVING_PORT."
        ) from error


def _server(settings: Settings, line: socket.socket | None, open_path: str | None) -> "Server":
    """Build the server. Raises ``ValueError`` for invalid settings."""
    begin_log()
    logging.getLogger("httpx").setLevel(
        logging.WARNING
    )  # a line for each check of the alias is noise
    from serving.server.server import Server, allow_files, uvicorn_config

    allow_files(settings)
    return Server(uvicorn_config(settings, open_path), line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
