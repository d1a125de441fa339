"""``laurel completion SHELL``, and what it asks while a person types: ``laurel --complete``."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from laurel.output import CommandFailed, Json, print_json
from laurel.table import COMMANDS, Argument, Command


class Shell(StrEnum):
    bash = "bash"
    zsh = "zsh"
    fish = "fish"


SCRIPTS = {
    Shell.bash: """_laurel() {
    local IFS=$'\\n'
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]/#\\~/$HOME}" --complete \\
        "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _laurel laurel
""",
    Shell.zsh: """#compdef laurel
_laurel() {
    local -a found
    found=(${(f)"$("${words[1]/#\\~/$HOME}" --complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    (( $#found )) && compadd -a found || _files
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _laurel laurel
""",
    Shell.fish: """function __laurel_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l program (string replace -r '^~' $HOME -- $words[1])
    set -l found ($program --complete $words[2..-1] 2>/dev/null)
    if set -q found[1]
        string join \\n $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c laurel -f -a '(__laurel_complete)'
""",
}
OF_OPTIONS: dict[str, Argument] = {"--flow": "flow", "--use-case": "use case"}
HOWTO = {
    Shell.bash: 'eval "$(laurel completion bash)"   # in ~/.bashrc',
    Shell.zsh: 'eval "$(laurel completion zsh)"    # in ~/.zshrc',
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
        return sorted(name for name in _options(command) if name.startswith(begun))
    option, place = _place(command, before[1:])
    kind = OF_OPTIONS.get(option) if option else (*command.takes, *[None] * (place + 1))[place]
    return [name for name in _names(kind) if name.startswith(begun)]


def _place(command: Command, words: Sequence[str]) -> tuple[str | None, int]:
    """The option whose value comes after ``words``, or ``None``; and how many arguments they
    have."""
    with_value = _options(command) if any(word.startswith("-") for word in words) else {}
    option, place = None, 0
    for word in words:
        if option is None and word.startswith("-"):
            option = word if with_value.get(word) else None
        else:
            place += option is None
            option = None
    return option, place


def _options(command: Command) -> dict[str, bool]:
    """Each option of the command, and whether a value follows it."""
    from laurel.main import parser_of

    options = [one for one in parser_of(command).params if one.param_type_name == "option"]
    return {name: not one.is_flag for one in options for name in one.opts} | {"--help": False}


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
