"""What can go wrong with the local stack.

StackError            the stack could not be brought up: says which part, why, and what to do
├── PortError         a port is taken, asked for twice or no port at all: names its setting
├── StorageError      the lake of these settings cannot be served here: says what to set
├── OpenServerError   Prefect or MLflow would listen for others than this machine and ask for no password
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
