"""Containers, policies and explanations in the form in which D-Bus carries them.

Names and labels are hostile data: what D-Bus cannot carry (NUL, lone surrogates) is replaced, the rest goes as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor import __version__
from governor.bus.codec import encode
from governor.bus.label import escape_label
from governor.bus.library import Variant
from governor.service.interfaces import CONTAINER_ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.model.container import Container
    from governor.model.tick import Explanation
    from governor.model.values import Value
    from governor.service.core import Core


def container_path(container: Container) -> str:
    """Return the object path of `container`."""
    return f"{CONTAINER_ROOT}/{escape_label(container.key)}"


def text(value: str) -> str:
    """Return `value` with what D-Bus cannot carry replaced by U+FFFD."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def row(container: Container) -> list[str]:
    """Return `container` as ListContainers has it: id, name, runtime, unit, object path."""
    words = (container.id, container.name, container.runtime, container.unit)
    return [*(text(word) for word in words), container_path(container)]


def limits(values: Mapping[str, Value]) -> dict[str, Variant]:
    """Return `values` as a{sv}; one that has no form on the bus (a share that is not resolved yet) is left out."""
    found = {name: _variant(name, value) for name, value in values.items()}
    return {name: variant for name, variant in found.items() if variant is not None}


def explanation(explained: Explanation) -> dict[str, Variant]:
    """Return `explained` as Explain has it; Value and Original are absent where they are not known."""
    known = {
        "Property": Variant("s", explained.property),
        "Value": _variant(explained.property, explained.value),
        "Original": _variant(explained.property, explained.original),
        "Source": Variant("s", text(explained.source)),
        "Reason": Variant("s", text(explained.reason)),
        "Since": Variant("t", explained.since_usec),
        "Until": Variant("t", explained.until_usec),
        "State": Variant("s", text(explained.state)),
        "Overrides": Variant("as", [text(source) for source in explained.overrides]),
    }
    return {name: variant for name, variant in known.items() if variant is not None}


def manager_properties(core: Core) -> dict[str, Variant]:
    """Return the properties of org.governor1.Manager."""
    return {
        "Version": Variant("s", __version__),
        "Mode": Variant("s", str(core.mode)),
        "NContainers": Variant("u", len(core.containers())),
        "Features": Variant("as", [text(feature) for feature in core.features()]),
        "LastTickUSec": Variant("t", core.last_tick_usec),
    }


def container_properties(core: Core, container: Container, *, details: bool) -> dict[str, Variant]:
    """Return the properties of one org.governor1.Container; the labels are empty without `details`."""
    labels = container.labels if details else {}
    return {
        "Id": Variant("s", text(container.id)),
        "Name": Variant("s", text(container.name)),
        "Runtime": Variant("s", text(container.runtime)),
        "Unit": Variant("s", text(container.unit)),
        "CGroup": Variant("s", text(container.cgroup)),
        "Image": Variant("s", text(container.image)),
        "Labels": Variant("a{ss}", {text(key): text(value) for key, value in labels.items()}),
        "Policies": Variant("as", [text(name) for name in core.policies_of(container)]),
        "Limits": Variant("a{sv}", limits(core.limits_of(container))),
        "Originals": Variant("a{sv}", limits(core.originals_of(container))),
    }


def _variant(name: str, value: Value | None) -> Any:
    if value is None:
        return None
    try:
        return encode(name, value)
    except (TypeError, ValueError):
        return None
