"""JSON Schema (draft 2020-12) of policies and of governor.toml, for editors that know `#:schema`.

It comes from the table that the parser uses, so it knows the same keys. Run
`python -m governor.policy.schema policy > policies/policy.schema.json`, and the same with `governor`.
A schema says less than the parser: whether a value's text is right, and what cannot hold together, only the parser
knows (`governorctl check`).
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

import tomli

from governor.model.directives import BY_NAME
from governor.policy import scalars
from governor.policy.keys import HOST, POLICY, Key, Shape
from governor.policy.kinds import SPELLINGS, Spelling

_TYPES: Final[dict[type, str]] = {str: "string", int: "integer", bool: "boolean"}


def schema(root: Key) -> dict[str, Any]:
    """Return the JSON Schema of a file whose top is `root`, as a value for json.dumps()."""
    required = ["match"] if root.find("match") else []
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": root.summary,
        **_table(root),
        "required": required,
    }


def _table(key: Key) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {inner.name: {"description": inner.summary, **_value(inner)} for inner in key.keys},
    }


def _value(key: Key) -> dict[str, Any]:
    match key.shape:
        case Shape.TABLE:
            # An empty [match] is refused: it would read as "everything" to some and as "nothing" to others.
            return {**_table(key), "minProperties": 1} if key.name == "match" else _table(key)
        case Shape.DIRECTIVE:
            return _directive(key.name)
        case Shape.GLOBS:
            return _globs(key)
        case Shape.CHOICE:
            return {"enum": list(key.choices), **_default(key)}
    return {**_SIMPLE[key.shape], **_bounds(key), **_default(key)}


def _bounds(key: Key) -> dict[str, Any]:
    """Return the bounds of a number that is written in the unit in which it is read; text is not held against them."""
    if key.shape not in _PLAIN:
        return {}
    ends = {"minimum": key.low, "maximum": key.high}
    kind = float if key.shape is Shape.RATIO else int
    return {name: kind(end) for name, end in ends.items() if end is not None}


def _default(key: Key) -> dict[str, Any]:
    return {} if key.default is None else {"default": tomli.loads(f"it = {scalars.spell(key, key.default)}")["it"]}


def _globs(key: Key) -> dict[str, Any]:
    glob: dict[str, Any] = {"type": "string", "minLength": 1}
    item = {"anyOf": [glob, {"type": "integer", "minimum": 0}]} if key.numbers else glob
    return {"anyOf": [item, {"type": "array", "items": item}]} if key.may_be_empty else _one_or_more(item)


def _directive(name: str) -> dict[str, Any]:
    spelling = SPELLINGS[BY_NAME[name].kind]
    item = {"type": sorted({_TYPES[kind] for kind in (str, *spelling.types)})}
    one = {"examples": [spelling.example], "description": f"{BY_NAME[name].summary}. It takes {spelling.accepted}."}
    return {**_listed(spelling, item), **one}


def _listed(spelling: Spelling, item: dict[str, Any]) -> dict[str, Any]:
    return item if spelling.join is None else {"anyOf": [item, {"type": "array", "items": item}]}


def _one_or_more(item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}


_SIMPLE: Final[dict[Shape, dict[str, Any]]] = {
    Shape.LABELS: {"type": "object", "additionalProperties": _one_or_more({"type": "string"})},
    Shape.TIMESPAN: {"type": ["string", "integer"]},
    Shape.BOOLEAN: {"type": ["boolean", "string"]},
    Shape.RATIO: {"type": ["number", "string"]},
    Shape.BYTES: {"type": ["string", "integer"]},
    Shape.COUNT: {"type": "integer"},
}
_PLAIN: Final = (Shape.RATIO, Shape.BYTES, Shape.COUNT)


def text(name: str) -> str:
    """Return the schema file for `policy` or `governor`."""
    return json.dumps(schema({"policy": POLICY, "governor": HOST}[name]), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text(sys.argv[1] if len(sys.argv) > 1 else "policy"))
