"""What can go wrong with the local stack.

StackError              the stack could not be started: which part, why, and what to do
├── PortError           a port is taken, assigned twice or invalid: names its setting
├── StorageError        no server here can serve the lake of these settings: what to set
├── OpenServerError     Prefect or MLflow would be open to others without a password
└── SupervisorError     supervisord did not start: carries its output
"""


class StackError(RuntimeError):
    """Base class: nothing that this start began is left running."""


class PortError(StackError):
    """Raised before anything is started."""


class StorageError(StackError):
    """Raised before anything is started."""


class OpenServerError(StackError):
    """Raised before the server listens."""


class SupervisorError(StackError):
    """The fault is in this installation, not in the settings."""


def in_a_line(error: OSError) -> str:
    """What to do about an unusable file of the state folder. Raises the error again if it is not
    about a file.
    """
    if error.filename is None:
        raise error
    return (
        f"{error.filename} cannot be used: {error.strerror}. If another user of this machine "
        "made it, for example by sudo, have it removed or take it back with chown; or name "
        "another folder: LAUREL_STATE=..."
    )
