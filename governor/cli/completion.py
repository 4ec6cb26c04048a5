"""completion: the completion scripts of bash, zsh and fish, made from the parser.

Made here and not by a library, because what a script offers beside the commands, the names of containers, is chosen by
others: a name that is more than letters, digits and `_.:@-` is not offered, and nothing that is offered is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from governor.cli.exits import Exit
from governor.cli.parser import each_command
from governor.model.directives import BY_NAME

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

_NAMES: Final = "governorctl list --quiet 2>/dev/null | grep -Ex '[A-Za-z0-9_][A-Za-z0-9_.:@-]*'"
"""Shell code that prints the names of containers that are safe on a command line."""

_FILES: Final = frozenset({"paths", "recording"})
"""Arguments for which names of files are offered."""


@dataclass(frozen=True, slots=True)
class _Command:
    """What can follow one command: `words` are options, choices and directives."""

    name: str
    summary: str
    words: tuple[str, ...]
    takes_container: bool
    takes_files: bool


def completion(arguments: argparse.Namespace) -> int:
    """Print the script for one shell."""
    print(script(arguments.shell), end="")
    return Exit.OK


def script(shell: str) -> str:
    """Return the completion script for `shell`: bash, zsh or fish."""
    commands = list(_commands())
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands)


def _commands() -> Iterator[_Command]:
    found: list[_Command] = []
    each_command(lambda name, parser: found.append(_described(name, parser)))
    yield from found


def _described(name: str, parser: argparse.ArgumentParser) -> _Command:
    """Return what may follow the command `name`."""
    words: list[str] = []
    positionals: list[str] = []
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list its arguments
        words += action.option_strings
        words += map(str, action.choices or ())
        positionals += [] if action.option_strings else [action.dest]
    if "assignments" in positionals:
        words += [f"{directive}=" for directive in BY_NAME]
    summary = (parser.description or "").splitlines()[0]
    return _Command(name, summary, tuple(words), "container" in positionals, not _FILES.isdisjoint(positionals))


def _cases(commands: Iterable[_Command]) -> Iterator[str]:
    """Yield the arms of a shell `case` on the command that set words, names and files."""
    for command in commands:
        flags = (" names=1" if command.takes_container else "") + (" files=1" if command.takes_files else "")
        yield f"        {command.name}) words='{' '.join(command.words)}'{flags} ;;"


def _bash(commands: list[_Command]) -> str:
    return "\n".join(
        [
            "# bash completion for governorctl",
            "_governorctl() {",
            '    local cur="${COMP_WORDS[COMP_CWORD]}" words= names= files= word',
            "    COMPREPLY=()",
            '    case "$( ((COMP_CWORD > 1)) && printf %s "${COMP_WORDS[1]}" )" in',
            f"        '') words='{' '.join(command.name for command in commands)} --help --version' ;;",
            *_cases(commands),
            "    esac",
            "    # compared word by word: compgen -W would evaluate what it is given",
            "    for word in $words ${names:+$(" + _NAMES + ")}; do",
            '        [[ $word == "$cur"* ]] && COMPREPLY+=("$word")',
            "    done",
            "    if [[ $files ]]; then",
            "        compopt -o filenames",
            '        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur")',
            "    fi",
            "    if [[ ${COMPREPLY[0]-} == *= ]]; then compopt -o nospace; fi",
            "}",
            "complete -F _governorctl governorctl",
            "",
        ]
    )


def _zsh(commands: list[_Command]) -> str:
    return "\n".join(
        [
            "#compdef governorctl",
            "# zsh completion for governorctl",
            "_governorctl() {",
            "    local words_ names files",
            "    local -a offered commands",
            "    if (( CURRENT == 2 )); then",
            "        commands=(",
            *(f"            '{command.name}:{_quoted(command.summary)}'" for command in commands),
            "        )",
            "        _describe command commands",
            "        return",
            "    fi",
            "    case $words[2] in",
            *(arm.replace(" words=", " words_=") for arm in _cases(commands)),
            "    esac",
            "    offered=(${=words_})",
            '    [[ -n $names ]] && offered+=(${(f)"$(' + _NAMES + ')"})',
            "    [[ -n $files ]] && _files",
            "    compadd -a offered",
            "}",
            '_governorctl "$@"',
            "",
        ]
    )


def _fish(commands: list[_Command]) -> str:
    lines = ["# fish completion for governorctl", "complete -c governorctl -f"]
    for command in commands:
        seen = f"-n '__fish_seen_subcommand_from {command.name}'"
        lines.append(
            f"complete -c governorctl -n __fish_use_subcommand -a {command.name} -d '{_quoted(command.summary)}'"
        )
        lines.append(f"complete -c governorctl {seen} -a '{' '.join(command.words)}'")
        if command.takes_container:
            lines.append(f'complete -c governorctl {seen} -a "(' + _NAMES.replace('"', '\\"') + ')"')
        if command.takes_files:
            lines.append(f"complete -c governorctl {seen} -F")
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    """Return `text` fit for single quotes in any of the three shells, and for zsh's `name:description`."""
    return text.replace("'", "").replace("\\", "").replace(":", " -")
