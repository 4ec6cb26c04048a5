"""Controllers' tables: from what a file says to ControlTable, and from values of any origin to a controller."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from governor.model.directives import BY_PROPERTY
from governor.model.policy import ControlTable, ControlValue, KeyPath

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from governor.model.control import Controller
    from governor.policy.document import Document


def control_tables(
    document: Document, found: Mapping[str, Mapping[str, Any]], controllers: Mapping[str, type[Controller]]
) -> Mapping[str, ControlTable]:
    """Return what the reader found in [control], each table and value with its place."""
    return MappingProxyType({name: _table(document, name, keys, controllers[name]) for name, keys in found.items()})


def _table(document: Document, name: str, keys: Mapping[str, Any], kind: type[Controller]) -> ControlTable:
    values = {
        path: ControlValue(value=value, position=document.position(as_written(("control", name, *path))))
        for path, value in _flat(keys)
    }
    return ControlTable(kind=kind, position=document.position(("control", name)), values=MappingProxyType(values))


def _flat(keys: Mapping[str, Any]) -> Iterator[tuple[KeyPath, Any]]:
    """Yield every value of a table with its path, those of a table of limits one by one."""
    for key, read in keys.items():
        if isinstance(read, dict):
            yield from (((key, name), value) for name, (value, _) in read.items())
        else:
            yield (key,), read


def as_written(part: KeyPath) -> KeyPath:
    """Return a path with D-Bus properties as they are called in TOML: the last of it is one, if any."""
    *above, last = part
    return (*above, BY_PROPERTY[last].name if last in BY_PROPERTY else last)


def is_whole(document: Document, name: str, table: ControlTable) -> bool:
    """Return whether every value that the file has in [control.NAME] was read: nothing of it was refused."""
    written = document.data["control"][name]
    if not isinstance(written, dict):
        return False
    return len(table.values) == sum(len(raw) if isinstance(raw, dict) else 1 for raw in written.values())


def built(kind: type[Controller], values: Mapping[KeyPath, ControlValue]) -> Controller:
    """Return the controller that `values` come to, with its defaults for the rest."""
    keys: dict[str, Any] = {}
    for (key, *below), found in ((path, one.value) for path, one in values.items()):
        if below:
            # MappingProxyType, so that nothing changes what a controller holds.
            keys[key] = MappingProxyType({**keys.get(key, {}), below[0]: found})
        else:
            keys[key] = found
    return kind(**keys)
