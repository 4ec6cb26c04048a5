"""What systemd tells about units, and where it keeps what was set on them: plain data and pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.bus.codec import encode, encode_empty, signature_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.bus.library import Variant
    from governor.model.values import Value

_INTERFACE = "org.freedesktop.systemd1."
_TYPES = {
    "scope": "Scope",
    "service": "Service",
    "slice": "Slice",
    "socket": "Socket",
    "mount": "Mount",
    "swap": "Swap",
}
_DROP_IN_NAMES = {"CPUQuotaPerSecUSec": "CPUQuota", "CPUQuotaPeriodUSec": "CPUQuotaPeriodSec"}
_NO_PROPERTY = frozenset({"CPUBurstUSec"})


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitInfo:
    """One unit as ListUnits has it; `load`, `active` and `sub` are systemd's words for its states."""

    name: str
    load: str
    active: str
    sub: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFacts:
    """What decides how a unit may be governed."""

    control_group: str
    """Its cgroup below the cgroup root; "" where it has none."""
    invocation_id: str
    """32 hex digits; "" where it has none."""
    transient: bool
    slice: str
    fragment_path: str
    delegate: bool
    drop_ins: tuple[str, ...]


def cgroup_interface(unit: str) -> str:
    """Return the D-Bus interface with `unit`'s resource-control properties; raises ValueError for a unit without."""
    suffix = unit.rpartition(".")[2]
    if suffix not in _TYPES:
        raise ValueError(f"{unit!r} is of a type that has no cgroup")
    return _INTERFACE + _TYPES[suffix]


def assignments(values: Mapping[str, Value]) -> list[list[str | Variant]]:
    """Return `values` as SetUnitProperties takes them; raises TypeError or ValueError as codec.encode does.

    A list is emptied first, or systemd would add to it.
    """
    pairs: list[list[str | Variant]] = []
    for name, value in values.items():
        if name in _NO_PROPERTY:
            raise TypeError(f"{name} is no property of systemd: write the cgroup's file")
        encoded, empty = encode(name, value), encode_empty(name, value)
        if empty is not None:
            pairs.append([name, empty])
        if empty is None or empty.value != encoded.value:
            pairs.append([name, encoded])
    return pairs


def runtime_drop_in_path(unit: str, property_name: str, *, runtime_dir: str = "/run/systemd") -> str:
    """Return the file that SetUnitProperties(runtime=true) writes for one property of a persistent unit.

    Two properties are filed under the directive's name, the others under their own (systemd's dbus-cgroup.c, the name
    given to unit_write_setting(); dropin.c: 50-<name>.conf). A user's manager has them in <its runtime
    directory>/systemd/user.control. Raises ValueError for what is no unit's name.
    """
    signature_of(property_name)
    if "/" in unit or "\0" in unit or unit.startswith(".") or "." not in unit:
        raise ValueError(f"{unit!r} is no unit's name")
    directory = "system.control" if runtime_dir == "/run/systemd" else "user.control"
    return f"{runtime_dir}/{directory}/{unit}.d/50-{_DROP_IN_NAMES.get(property_name, property_name)}.conf"


def facts_from(values: Mapping[str, Any]) -> UnitFacts:
    """Return the facts in these property values; raises TypeError or ValueError where one is of another type."""
    return UnitFacts(
        control_group=_string(values["ControlGroup"]),
        invocation_id=bytes(values["InvocationID"]).hex(),
        transient=bool(values["Transient"]),
        slice=_string(values["Slice"]),
        fragment_path=_string(values["FragmentPath"]),
        delegate=bool(values["Delegate"]),
        drop_ins=tuple(_string(path) for path in values["DropInPaths"]),
    )


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return value
