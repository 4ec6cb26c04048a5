"""Tables of docs/policies.md, made from the tables that the parser uses.

`python -m governor.policy.reference docs/policies.md` puts them between their markers.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from governor.controllers import BY_NAME as CONTROLLERS
from governor.model.control import Controller, Takes, keys_of
from governor.model.directives import BY_NAME, BY_PROPERTY
from governor.policy import scalars
from governor.policy.keys import HOST, POLICY, Key, Shape, controller_table
from governor.policy.kinds import SPELLINGS
from governor.policy.spelling import example

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

_CONTROL_HEAD: Final = "| Key | What it is | It takes | Default | For example |"


def updated(page: str) -> str:
    """Return `page` with the table after every `<!-- table: NAME -->` made anew."""
    tables = {
        "directives": directives(),
        "match": keys("match", POLICY),
        "control": common(),
        "controllers": controllers(CONTROLLERS.values()),
        "governor": keys("governor", HOST),
    }
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


def common() -> str:
    """Return the keys that every controller has as rows of Markdown."""
    limits = [
        f"| `{name}` | {info.summary} | its directives | none | `{name} = {info.example}` |"
        for name, info in keys_of(Controller).items()
        if info.takes is Takes.LIMITS
    ]
    return _rows(_CONTROL_HEAD, limits + [_control_row(key) for key in controller_table(Controller).keys])


def controllers(kinds: Iterable[type[Controller]]) -> str:
    """Return a section for each controller: what it is for, its directives, and the keys that are its own."""
    return "\n".join(map(_section, kinds))


def _section(kind: type[Controller]) -> str:
    directives = ", ".join(f"`{BY_PROPERTY[name].name}`" for name in kind.properties) or "none"
    rows = [_control_row(key) for key in controller_table(kind).keys if _is_own(kind, key)]
    head = f"### `[control.{kind.name}]`\n\n{kind.summary}. Its directives: {directives}.\n"
    return f"{head}\n{_rows(_CONTROL_HEAD, rows)}" if rows else head


def _is_own(kind: type[Controller], key: Key) -> bool:
    """Return whether a key of `kind` is another than that which every controller has, be it in its default."""
    if key.shape is Shape.TABLE:
        return keys_of(kind)[key.name] != keys_of(Controller).get(key.name)
    return key not in controller_table(Controller).keys


def _control_row(key: Key) -> str:
    limits = key.shape is Shape.TABLE
    takes = "its directives" if limits else scalars.accepted(key)
    default = "none" if limits else f"`{scalars.spell(key, key.default)}`"
    return f"| `{key.name}` | {key.summary} | {takes} | {default} | `{key.name} = {key.example}` |"


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
