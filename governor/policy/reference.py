"""Tables of docs/policies.md, made from the tables that the parser uses.

`python -m governor.policy.reference docs/policies.md` puts them between their markers.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from governor.model.directives import BY_NAME
from governor.policy.keys import HOST, POLICY, Key, Shape
from governor.policy.kinds import SPELLINGS
from governor.policy.spelling import example

if TYPE_CHECKING:
    from collections.abc import Iterator

_MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def updated(page: str) -> str:
    """Return `page` with the table after every `<!-- table: NAME -->` made anew."""
    tables = {"directives": directives(), "match": keys("match", POLICY), "governor": keys("governor", HOST)}
    return _MARKED.sub(lambda found: found[1] + tables[found[2]] + found[3], page)


def directives() -> str:
    """Return every directive as rows of Markdown."""
    rows = [
        f"| `{name}` | {directive.summary} | {_accepted(name)} "
        f"| `{name} = {example(directive)}` | {directive.controller} |"
        for name, directive in BY_NAME.items()
    ]
    return _rows("| Directive | What it does | It takes | For example | Needs |", rows)


def keys(name: str, root: Key) -> str:
    """Return the keys of the table `name` of `root`, and of those within it, as rows of Markdown."""
    table = root.find(name)
    assert table is not None
    return _rows("| Key | What it is | For example |", [_row(path, key) for path, key in _leaves("", table)])


def _leaves(prefix: str, table: Key) -> Iterator[tuple[str, Key]]:
    for key in table.keys:
        if key.shape is Shape.TABLE:
            yield from _leaves(f"{prefix}{key.name}.", key)
        else:
            yield f"{prefix}{key.name}", key


def _row(path: str, key: Key) -> str:
    return f"| `{path}` | {key.summary} | `{path} = {key.example}` |"


def _rows(head: str, rows: list[str]) -> str:
    rule = "|" + "---|" * (head.count("|") - 1)
    return "\n".join([head, rule, *rows]) + "\n"


def _accepted(name: str) -> str:
    """Return what a directive takes, with the bars that would end a cell escaped."""
    spelling = SPELLINGS[BY_NAME[name].kind]
    return ("a list of: " if spelling.join else "") + spelling.accepted.replace("|", r"\|")


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        file.write_text(updated(file.read_text(encoding="utf-8")), encoding="utf-8")
