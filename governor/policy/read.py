"""Walk a TOML document along the table of keys: values out, problems noted, nothing unknown passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from governor.model.directives import BY_NAME, BY_PROPERTY
from governor.policy import globs, scalars, spelling
from governor.policy.keys import QOS, Key, Shape
from governor.policy.words import Raw, as_text, quoted, suggestion, toml_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from governor.model.values import Value
    from governor.policy.document import Document
    from governor.policy.positions import Path

_MAX_PATTERNS: Final = 4096


class Reader:
    """Reads one document whose top is the table `root`. What is wrong is noted there and left out of the values."""

    def __init__(self, document: Document, root: Key) -> None:
        self.document = document
        self.root = root
        self._read: Mapping[Shape, Callable[[Key, Raw, Path], Any]] = {
            Shape.TABLE: self.table,
            Shape.LABELS: self._labels,
            Shape.GLOBS: self._globs,
            **dict.fromkeys((Shape.CHOICE, *scalars.SCALARS), self._scalar),
        }

    def read(self) -> dict[str, Any]:
        """Return the values of all tables by name."""
        return self.table(self.root, self.document.data, ())

    def table(self, key: Key, raw: Raw, path: Path) -> dict[str, Any]:
        """Return the values of a table by key; directives by D-Bus property, each with its path."""
        found: dict[str, Any] = {}
        for name, value in self._entries(key, raw, path):
            known = key.find(name)
            if self.document.is_full:
                break
            if known is None:
                self.document.at_key((*path, name), _unknown(self.root, key, name, path))
            elif known.shape is Shape.DIRECTIVE:
                self._directive(found, name, value, (*path, name))
            else:
                read = self._read[known.shape](known, value, (*path, name))
                found |= {} if read is None else {name: read}
        return found

    def _entries(self, key: Key, raw: Raw, path: Path) -> list[tuple[str, Raw]]:
        if isinstance(raw, dict):
            return list(raw.items())
        self.document.at_value(path, f"{key.name} is {toml_type(raw)}; it is a table, as in {key.example}")
        return []

    def _directive(self, found: dict[str, Any], name: str, raw: Raw, path: Path) -> None:
        directive = BY_NAME[name]
        values: list[Value] = []
        try:
            items = spelling.items(directive, raw)
            for below, item in items:
                self._item(values, name, item, path + below)
            if len(values) == len(items):
                found[directive.property] = (spelling.join(directive, values), path)
        except ValueError as error:
            self.document.at_value(path, str(error))

    def _item(self, values: list[Value], name: str, raw: Raw, path: Path) -> None:
        try:
            values.append(spelling.parse_item(BY_NAME[name], raw))
        except ValueError as error:
            self.document.at_value(path, str(error))

    def _labels(self, key: Key, raw: Raw, path: Path) -> dict[str, tuple[str, ...]] | None:
        read = {
            name: self._patterns(f"label {quoted(name)}", value, (*path, name), may_be_empty=True)
            for name, value in self._entries(key, raw, path)
        }
        return {name: patterns for name, patterns in read.items() if patterns} or None

    def _globs(self, key: Key, raw: Raw, path: Path) -> tuple[str, ...] | None:
        if key.numbers:
            raw = _numbers_as_text(raw)
        if key.may_be_empty and raw == []:
            return ()
        patterns = self._patterns(key.name, raw, path, example=key.example)
        if key.name == "qos":
            self._known_qos(patterns or (), path)
        return patterns

    def _known_qos(self, patterns: tuple[str, ...], path: Path) -> None:
        for pattern in patterns:
            if not any(globs.any_matches([pattern], qos) for qos in QOS):
                message = f"qos: {quoted(pattern)} matches none of {', '.join(QOS)}{suggestion(pattern, QOS)}"
                self.document.at_value(path, message)

    def _patterns(
        self, name: str, raw: Raw, path: Path, *, may_be_empty: bool = False, example: str = '"a*"'
    ) -> tuple[str, ...] | None:
        """Return a glob or a list of globs as a tuple, or None after noting what is wrong with it."""
        items = raw if isinstance(raw, list) else [raw]
        if not 1 <= len(items) <= _MAX_PATTERNS:
            self.document.at_value(path, f"{name} has {len(items)} patterns; it takes 1 to {_MAX_PATTERNS}")
            return None
        before = len(self.document.problems)
        for index, item in enumerate(items):
            complaint = _glob_complaint(item, may_be_empty=may_be_empty)
            if complaint:
                message = f"{name}: {quoted(item)} {complaint}; it takes a glob or a list of globs, as in {example}"
                self.document.at_value((*path, index) if isinstance(raw, list) else path, message)
        return tuple(items) if len(self.document.problems) == before else None

    def _scalar(self, key: Key, raw: Raw, path: Path) -> Any:
        try:
            return scalars.parse(key, raw)
        except ValueError as error:
            self.document.at_value(path, str(error))
            return None


def _numbers_as_text(raw: Raw) -> Raw:
    """Return uids as the text that patterns are compared with."""
    if isinstance(raw, list):
        return [_numbers_as_text(item) for item in raw if not isinstance(item, list)] or raw
    return as_text(raw) if type(raw) is int and raw >= 0 else raw


def _glob_complaint(raw: Raw, *, may_be_empty: bool) -> str:
    if isinstance(raw, dict):
        return 'is a table (a name with dots needs quotes: "app.tier")'
    if not isinstance(raw, str):
        return f"is {toml_type(raw)}"
    if not raw and not may_be_empty:
        return "is empty and matches nothing"
    return globs.complaint(raw)


def _unknown(root: Key, table: Key, name: str, path: Path) -> str:
    """Return what to say of a key that the table does not have."""
    where = f"[{'.'.join(str(part) for part in path)}]" if path else "the file"
    if name in BY_PROPERTY and table.find(BY_PROPERTY[name].name):
        return f'{quoted(name)} is a D-Bus property; in {where} it is called "{BY_PROPERTY[name].name}"'
    if path[:1] == ("control",) and len(path) > 2 and name in BY_NAME:  # noqa: PLR2004 - [control.NAME.min]
        return f"{path[1]} does not move {name}; its directives are {', '.join(key.name for key in table.keys)}"
    what = "controller" if path == ("control",) else "key"
    guess = suggestion(name, (key.name for key in table.keys)) or _within(table, name, path) or _elsewhere(root, name)
    if guess or path == ("limits",):
        return f"unknown {what} {quoted(name)} in {where}{guess}"
    known = ", ".join(f"[{key.name}]" if key.shape is Shape.TABLE and not path else key.name for key in table.keys)
    return f"unknown {what} {quoted(name)} in {where}; it knows {known or 'none'}"


def _within(table: Key, name: str, path: Path) -> str:
    """Return in which tables of this table a key of that name belongs, as a directive in a controller's bounds."""
    if not path:
        return ""
    inner = [key.name for key in table.keys if key.shape is Shape.TABLE and key.find(name)]
    return f"; it belongs in {' or '.join(inner)}" if inner else ""


def _elsewhere(root: Key, name: str) -> str:
    """Return in which table a key of that name belongs, where there is one."""
    for top in root.keys:
        if top.find(name):
            return f"; it belongs in [{top.name}]"
    return ""
