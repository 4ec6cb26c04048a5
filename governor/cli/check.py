"""check: is a policy right? Answers without the daemon, with every problem of every file and its place."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from governor.cli import output
from governor.cli.exits import Exit
from governor.model.errors import PolicyError, Position, Problem
from governor.model.policy import Mode
from governor.policy.files import read_text, toml_names
from governor.policy.load import Directories
from governor.policy.parse import parse_policy, parse_settings

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

SETTINGS_NAME: Final = "governor.toml"
MAX_BYTES: Final = 1024 * 1024
"""Above it the parser refuses a file anyway, and says so."""
_ROOT_UID: Final = 0


def check(arguments: Namespace) -> int:
    """Print every problem of the files and directories given; 0 where there is none, else 1."""
    files: list[Path] = []
    problems: list[Problem] = []
    for path in map(Path, arguments.paths):
        try:
            files += policy_files(path)
        except PolicyError as error:
            problems += error.problems
    for file in files:
        problems += check_file(file)
    _report(arguments, len(files), problems)
    return Exit.FAILURE if problems else Exit.OK


def check_file(path: Path) -> tuple[Problem, ...]:
    """Return all that is wrong with one file: settings if it is called governor.toml, else a policy.

    Files in the daemon's own directories are read as the daemon reads them: they must belong to root, too.
    """
    try:
        text = read_text(path, _ROOT_UID) if _is_installed(path) else draft(path)
        if text is None:
            return ()
        if path.name == SETTINGS_NAME:
            parse_settings(text, file=str(path))
        else:
            parse_policy(text, name=path.stem, file=str(path), default_mode=Mode.ENFORCE)
    except PolicyError as error:
        return error.problems
    return ()


def policy_files(path: Path) -> Iterator[Path]:
    """Yield the files that `path` means: itself, or every *.toml of a directory in the daemon's order."""
    if not path.is_dir():
        yield path
    elif _is_installed(path / "any"):
        yield from (path / name for name in toml_names(path, _ROOT_UID))
    else:
        yield from sorted(file for file in path.glob("*.toml") if not file.name.startswith("."))


def _is_installed(path: Path) -> bool:
    """Return whether the daemon itself reads the directory of `path`."""
    return path.absolute().parent in Directories().watched()


def draft(path: Path) -> str:
    """Return the text of a file that belongs to whom it may. Raises PolicyError where it cannot be read as text."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _refusal(path, 1, "is not a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        return content.decode()
    except UnicodeDecodeError as error:
        raise _refusal(path, content.count(b"\n", 0, error.start) + 1, "is not UTF-8 text") from error
    except OSError as error:
        raise _refusal(path, 1, f"cannot be read: {error.strerror}") from error


def _refusal(path: Path, line: int, message: str) -> PolicyError:
    return PolicyError((Problem(Position(str(path), line, 1), message),))


def _report(arguments: Namespace, count: int, problems: list[Problem]) -> None:
    if arguments.json:
        output.print_json([_as_dict(problem) for problem in problems])
        return
    for problem in problems:
        print("\n".join(map(output.safe, problem.render().expandtabs(4).split("\n"))))
    if problems:
        print(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in {count} file{'s' if count > 1 else ''}")
    else:
        print(f"{count} file{'s' if count != 1 else ''}: no problem found")


def _as_dict(problem: Problem) -> dict[str, str | int]:
    place = problem.position
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "message": problem.message,
        "source": problem.source,
    }
