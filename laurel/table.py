"""The commands, in the order in which ``laurel --help`` shows them. Nothing is imported for the
list: a command's module is loaded when it is called."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """``name`` as it is typed; the function of that name, with underscores, in
    ``laurel/commands/<module>.py``."""

    name: str
    module: str
    summary: str

    @property
    def function(self) -> str:
        return self.name.replace("-", "_")


GROUPS: dict[str, tuple[Command, ...]] = {
    "The stack": (
        Command("up", "stack", "Start the stack and apply the deployments"),
        Command("down", "stack", "Stop the stack"),
    ),
    "From data to champion": (Command("new", "new", "Write the file of a use case from a table"),),
    "Your own": (Command("init", "init", "Make a repository for your own use cases"),),
}
COMMANDS = {command.name: command for group in GROUPS.values() for command in group}
