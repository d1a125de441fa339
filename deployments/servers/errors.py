"""What can go wrong with the local stack.

StackError            the stack could not be brought up: says which part, why, and what to do
├── PortError         a port is taken, asked for twice or no port at all: names its setting
├── StorageError      the lake of these settings cannot be served here: says what to set
├── OpenServerError   Prefect or MLflow would listen for others than this machine and ask for no
│                     password
└── SupervisorError   supervisord did not start: carries what it said
"""


class StackError(RuntimeError):
    """Base of all: nothing that this start began is left running."""


class PortError(StackError):
    """Raised before anything is started."""


class StorageError(StackError):
    """Raised before anything is started."""


class OpenServerError(StackError):
    """Raised before the server listens."""


class SupervisorError(StackError):
    """The fault is in this installation, not in the settings."""


def in_a_line(error: OSError) -> str:
    """What a person does about a file of the state folder that cannot be used. Raises the error
    where it is about no file.
    """
    if error.filename is None:
        raise error
    return (
        f"{error.filename} cannot be used: {error.strerror}. If another user of this machine "
        "made it, for example by sudo, have it removed or take it back with chown; or name "
        "another folder: LAUREL_STATE=..."
    )
