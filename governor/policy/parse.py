"""TOML text to policies and host settings: strict, and with every problem at once.

Pure: text in, dataclasses out. What may be said stands in keys.py, how a value is written in spelling.py, what cannot
hold together in conflicts.py and clashes.py.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from governor.controllers import BY_NAME as CONTROLLERS
from governor.model.errors import PolicyError
from governor.model.policy import HostSettings, Limit, Match, Mode, Policy
from governor.policy.clashes import clashes
from governor.policy.conflicts import conflicts
from governor.policy.controls import as_written, control_tables, is_whole
from governor.policy.document import Document
from governor.policy.keys import HOST, POLICY, policy_table
from governor.policy.read import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.control import Controller
    from governor.model.policy import ControlTable
    from governor.policy.positions import Path

_EVERYTHING: Final = 'to match every container deliberately, write runtime = "*"'


def parse_policy(
    text: str,
    *,
    name: str,
    file: str,
    default_mode: Mode,
    controllers: Mapping[str, type[Controller]] = CONTROLLERS,
) -> Policy:
    """Return the policy that `text` states; `name` is its file's name without .toml, `file` what messages call it.

    `default_mode` holds where the policy states none, `controllers` are those that [control] may name. Raises
    PolicyError with every problem found.
    """
    document = Document(text, file)
    found = Reader(document, POLICY if controllers is CONTROLLERS else policy_table(controllers)).read()
    _require_match(document)
    limits = _limits(document, found.get("limits", {}))
    controls = control_tables(document, found.get("control", {}), controllers)
    _require_no_clash(document, controls, limits)
    if document.problems:
        raise PolicyError(document.sorted_problems())
    mode = Mode(found.get("policy", {}).get("mode", default_mode))
    match = Match(**{key: _frozen(value) for key, value in found["match"].items()})
    return Policy(name=name, file=file, mode=mode, match=match, limits=limits, controls=controls)


def parse_settings(text: str, *, file: str) -> HostSettings:
    """Return the host's settings that `text` states, with the defaults for the rest; raise PolicyError like above."""
    document = Document(text, file)
    found = Reader(document, HOST).read().get("governor", {})
    if document.problems:
        raise PolicyError(document.sorted_problems())
    defaults = HostSettings()
    return HostSettings(
        mode=Mode(found.get("mode", defaults.mode)),
        interval_usec=found.get("interval", defaults.interval_usec),
        protected=found.get("protected", defaults.protected),
        kubernetes_write=found.get("kubernetes", {}).get("write", defaults.kubernetes_write),
        resync_usec=found.get("resync", defaults.resync_usec),
        actions_per_minute=found.get("actions_per_minute", defaults.actions_per_minute),
    )


def _require_match(document: Document) -> None:
    """Complain of a policy that does not say which containers it is for."""
    if "match" not in document.data:
        document.at_key((), f"[match] is missing: say which containers the policy is for; {_EVERYTHING}")
        return
    raw = document.data["match"]
    if isinstance(raw, dict) and all(value == {} for value in raw.values()):
        document.at_key(("match",), f"[match] is empty: say which containers the policy is for; {_EVERYTHING}")


def _limits(document: Document, found: Mapping[str, tuple[Any, Path]]) -> Mapping[str, Limit]:
    """Return the limits by D-Bus property with their places, after complaining of those that cannot hold together."""
    for conflict in conflicts({name: value for name, (value, _) in found.items()}):
        _, path = found[conflict.properties[0]]
        if conflict.missing not in document.data["limits"]:
            document.at_value(path, conflict.message)
    return MappingProxyType(
        {name: Limit(value=value, position=document.position(path)) for name, (value, path) in found.items()}
    )


def _require_no_clash(document: Document, controls: Mapping[str, ControlTable], limits: Mapping[str, Limit]) -> None:
    """Complain of controllers' tables that contradict themselves or the limits beside them."""
    static = {name: limit.value for name, limit in limits.items()}
    for name, table in controls.items():
        for clash in clashes(name, table.kind, table.values, static):
            if is_whole(document, name, table) or not clash.is_of_defaults:
                document.at_value(as_written(clash.parts[0]), clash.message)


def _frozen(value: Any) -> Any:
    return MappingProxyType(value) if isinstance(value, dict) else value
