"""The four exceptions of the project. OSError and D-Bus errors become one of them where they arise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file: `line` and `column` count from 1, as editors do."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a policy, and where.

    `source` is the line as written ("" where unknown) and `width` the number of columns that the caret underlines.
    """

    position: Position
    message: str
    source: str = ""
    width: int = 1

    def render(self) -> str:
        """Return `file:line:column: message`, followed by the source line and a caret where the line is known."""
        head = f"{self.position}: {self.message}"
        if not self.source:
            return head
        margin = "".join("\t" if c == "\t" else " " for c in self.source[: self.position.column - 1])
        return f"{head}\n    {self.source}\n    {margin}^{'~' * (self.width - 1)}"


class Gone(Exception):
    """A cgroup, unit, process or container ended while we looked at it. Normal: drop it and go on."""


class Unsupported(Exception):
    """This host lacks what one feature needs: that feature is off, reported once."""


class PolicyError(Exception):
    """A policy or setting is wrong. Carries every problem found, not only the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        """Keep `problems`; the text of the exception is all of them rendered."""
        super().__init__("\n".join(problem.render() for problem in problems))
        self.problems = problems


class ActuationError(Exception):
    """A limit could not be written or did not arrive in the kernel. Retried with the next tick."""
