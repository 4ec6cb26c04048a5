"""What a policy may say can be written: the parser, the canonical form, the paths and the bus agree on every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.actuators.writers import for_bus
from governor.bus.codec import decode
from governor.bus.library import Variant
from governor.bus.units import assignments
from governor.kernel import limits
from governor.kernel.host import Host
from governor.model.directives import BY_PROPERTY, Directive
from governor.policy.kinds import SPELLINGS
from governor.policy.spelling import parse_value

if TYPE_CHECKING:
    from governor.model.values import Value

HOST = Host(
    memory_total_bytes=8 << 30,
    cpus=tuple(range(16)),
    memory_nodes=tuple(range(4)),
    tasks_max=32768,
    block_device=lambda _path: "254:16",
)
ON_BUS = [directive for directive in BY_PROPERTY.values() if directive.name != "CPUBurst"]
NOTHING: dict[str, Value] = {"a(st)": (), "a(ss)": (), "a(iayu)": (), "a(iiqq)": (), "(bas)": (False, ()), "ay": ()}
"""How the original of a list looks where the runtime has set none: what has to be restored most of the time."""
LISTS = [directive for directive in ON_BUS if directive.signature in NOTHING]


@pytest.mark.parametrize("directive", ON_BUS, ids=lambda directive: directive.name)
def test_what_a_policy_may_say_can_be_sent(directive: Directive) -> None:
    value = limits.canonical(directive.property, parse_value(directive, SPELLINGS[directive.kind].example), HOST)
    [*_, last] = assignments(for_bus({directive.property: value}, HOST))
    assert isinstance(last[1], Variant)
    back = limits.canonical(directive.property, decode(directive.property, last[1]), HOST)
    assert back == value


@pytest.mark.parametrize("directive", LISTS, ids=lambda directive: directive.name)
def test_an_empty_list_can_be_sent(directive: Directive) -> None:
    [[name, variant]] = assignments(for_bus({directive.property: NOTHING[directive.signature]}, HOST))
    assert name == directive.property
    assert isinstance(variant, Variant)
    sent = decode(directive.property, variant)
    assert limits.canonical(directive.property, sent, HOST) == NOTHING[directive.signature]
    # the kernel takes no empty list for a cgroup with processes in it
    explicit: dict[str, Value] = {"AllowedCPUs": HOST.cpus, "AllowedMemoryNodes": HOST.memory_nodes}
    assert sent == explicit.get(directive.property, NOTHING[directive.signature])
