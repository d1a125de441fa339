"""The commands, in the order in which ``laurel --help`` shows them. Nothing is imported for the
list: a command's module is loaded when it is called."""

from dataclasses import dataclass
from typing import Literal

Argument = Literal["flow", "use case", "log", "page", "shell"]


@dataclass(frozen=True)
class Command:
    """``name`` as it is typed; the function of that name, with underscores, in
    ``laurel/commands/<module>.py``. ``takes``: what its arguments are, for a shell's completion."""

    name: str
    module: str
    summary: str
    takes: tuple[Argument, ...] = ()

    @property
    def function(self) -> str:
        return self.name.replace("-", "_")


GROUPS: dict[str, tuple[Command, ...]] = {
    "The stack": (
        Command("up", "stack", "Start the stack and apply the deployments"),
        Command("down", "stack", "Stop the stack"),
        Command("status", "status", "What needs you, each use case, the parts of the stack"),
        Command("doctor", "doctor", "Check everything, and say what to do"),
        Command("logs", "logs", "The log of a use case's newest run, or of a program", ("log",)),
        Command("open", "service", "Open a page of the stack", ("page",)),
        Command("tidy", "tidy", "Remove what nobody needs any more; asks first"),
        Command("demo", "stack", "Run the whole loop on real data, on a stack of its own"),
    ),
    "From data to a champion": (
        Command("new", "new", "Write the file of a use case from a table"),
        Command("check", "check", "Try a use case in seconds, without servers", ("use case",)),
        Command("init", "init", "Make a repository for your own use cases"),
    ),
    "The loop": (
        Command(
            "run", "runs", "Run a flow of a use case, and say how it ended", ("flow", "use case")
        ),
        Command("cancel", "cancel", "Cancel a run, and say what it leaves", ("use case",)),
        Command("champion", "decisions", "Who is champion, since when and why", ("use case",)),
        Command("explain", "runs", "Who was champion and why; why no retrain ran", ("use case",)),
        Command("promote", "runs", "Let the challenger compete with the champion", ("use case",)),
        Command("rollout", "runs", "Look at a rollout, advance or end it", ("use case",)),
        Command("rollback", "runs", "Give the crown back", ("use case",)),
        Command("adopt", "runs", "Make a version champion by hand", ("use case",)),
        Command("approve", "decisions", "Let a waiting challenger take the crown", ("use case",)),
        Command("reject", "decisions", "Refuse a waiting challenger", ("use case",)),
        Command("audit", "decisions", "Verify the ledgers of decisions", ("use case",)),
    ),
    "The service": (
        Command("predict", "service", "Ask the champion about a row", ("use case",)),
        Command("score", "score", "Score the rows of a file, a query or a period", ("use case",)),
        Command("key", "keys", "Make, list, rotate or remove API keys"),
    ),
    "This command": (
        Command("completion", "completion", "Complete commands and names in a shell", ("shell",)),
    ),
}
COMMANDS = {command.name: command for group in GROUPS.values() for command in group}
