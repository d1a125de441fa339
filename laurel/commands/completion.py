"""``laurel completion SHELL``, and what it asks while a person types: ``laurel --complete``."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from laurel.output import CommandFailed, Json, print_json
from laurel.table import COMMANDS, Argument


class Shell(StrEnum):
    bash = "bash"
    zsh = "zsh"
    fish = "fish"


SCRIPTS = {
    Shell.bash: """_laurel() {
    local IFS=$'\\n'
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" --complete "${COMP_WORDS[@]:1:COMP_CWORD}" \\
        2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _laurel laurel
""",
    Shell.zsh: """#compdef laurel
_laurel() {
    local -a found
    found=("${(@f)$("${words[1]}" --complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -a found
}
compdef _laurel laurel
""",
    Shell.fish: """function __laurel_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] --complete $words[2..-1] 2>/dev/null
end
complete -c laurel -f -a '(__laurel_complete)'
""",
}
HOWTO = {
    Shell.bash: 'eval "$(laurel completion bash)"   # in ~/.bashrc',
    Shell.zsh: 'eval "$(laurel completion zsh)"    # in ~/.zshrc, after compinit',
    Shell.fish: "laurel completion fish | source     # in ~/.config/fish/config.fish",
}


def completion(
    shell: Annotated[Shell | None, typer.Argument(metavar="bash|zsh|fish")] = None,
    as_json: Json = False,
) -> None:
    """Print what a shell needs to complete commands, flows, use cases and options.

    Example: laurel completion bash >> ~/.bashrc
    """
    if shell is None:
        ways = "\n".join(f"    {line}" for line in HOWTO.values())
        raise CommandFailed(f"Name the shell:\n{ways}", exit_code=2)
    if as_json:
        print_json({"shell": shell.value, "script": SCRIPTS[shell]})
    else:
        typer.echo(SCRIPTS[shell], nl=False)


def candidates(words: Sequence[str]) -> list[str]:
    """What the last of ``words`` may become, the words before it being typed. Never an error: a
    shell would show it amid the line."""
    *before, begun = words or [""]
    if not before:
        return [name for name in COMMANDS if name.startswith(begun)]
    if (command := COMMANDS.get(before[0])) is None:
        return []
    if begun.startswith("-"):
        return sorted(name for name in _options(before[0]) if name.startswith(begun))
    place = sum(not word.startswith("-") for word in before[1:])
    kind = command.takes[place] if place < len(command.takes) else None
    return [name for name in _names(kind) if name.startswith(begun)]


def _options(command: str) -> list[str]:
    from laurel.main import parser_of

    parameters = parser_of(COMMANDS[command]).params
    names = [name for one in parameters if one.param_type_name == "option" for name in one.opts]
    return [*names, "--help"]


def _names(kind: Argument | None) -> list[str]:
    from laurel import names

    match kind:
        case "flow":
            return names.flow_words()
        case "use case":
            return names.use_cases()
        case "log":
            return [*names.use_cases(), *names.programs()]
        case "page":
            return [*names.PAGES, *names.use_cases()]
        case "shell":
            return [shell.value for shell in Shell]
    return []
