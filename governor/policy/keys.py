"""The one table of tables and keys: the parser, the JSON Schema and the reference all read it.

To add a key, add a line here and read its value where parse.py builds the policy. The keys of a controller come from
the fields of its class.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from governor.controllers import BY_NAME as CONTROLLERS
from governor.model.control import Controller, KeyInfo, Takes, keys_of
from governor.model.directives import BY_NAME, BY_PROPERTY, Directive
from governor.model.values import USEC_PER_SEC
from governor.policy.spelling import example as directive_example

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Shape(StrEnum):
    """What a key's value is made of."""

    TABLE = "table"
    """A table whose keys are listed."""
    LABELS = "labels"
    """A table whose keys have any name, the values being globs."""
    GLOBS = "globs"
    """A glob or a list of globs."""
    CHOICE = "choice"
    TIMESPAN = "timespan"
    BOOLEAN = "boolean"
    RATIO = "ratio"
    """A number, or a percentage as text."""
    BYTES = "bytes"
    COUNT = "count"
    DIRECTIVE = "directive"
    """A directive of model/directives.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key: its name in TOML, what it takes, and what it is for."""

    name: str
    shape: Shape
    summary: str
    example: str
    keys: tuple[Key, ...] = ()
    choices: tuple[str, ...] = ()
    low: float | None = None
    """The least value, in the unit that the value is read to: µs, bytes."""
    high: float | None = None
    default: Any = None
    """What holds where the key is not given, as far as the reference says so."""
    numbers: bool = False
    """Whether a whole number is taken for a glob, as for a uid."""
    may_be_empty: bool = False
    """Whether a list of globs may have none."""

    def find(self, name: str) -> Key | None:
        """Return the key of that name in this table, or None."""
        return next((key for key in self.keys if key.name == name), None)


def _table(name: str, summary: str, example: str, *keys: Key) -> Key:
    return Key(name=name, shape=Shape.TABLE, summary=summary, example=example, keys=keys)


def _globs(name: str, summary: str, example: str, *, numbers: bool = False) -> Key:
    return Key(name=name, shape=Shape.GLOBS, summary=summary, example=example, numbers=numbers)


def _mode(summary: str) -> Key:
    return Key(name="mode", shape=Shape.CHOICE, summary=summary, example='"observe"', choices=("observe", "enforce"))


def _directives(directives: Iterable[Directive]) -> tuple[Key, ...]:
    return tuple(
        Key(name=directive.name, shape=Shape.DIRECTIVE, summary=directive.summary, example="")
        for directive in directives
    )


def controller_table(kind: type[Controller]) -> Key:
    """Return the table of one controller. Keys for limits are left out where it has no limits to move."""
    defaults = {field.name: field.default for field in fields(kind)}
    keys = tuple(
        _limits_key(name, info, kind) if info.takes is Takes.LIMITS else _scalar_key(name, info, defaults[name])
        for name, info in keys_of(kind).items()
        if info.takes is not Takes.LIMITS or kind.properties
    )
    return _table(kind.name, kind.summary, f"{{ {_shown(keys)} }}", *keys)


def _scalar_key(name: str, info: KeyInfo, default: Any) -> Key:
    return Key(
        name=name,
        shape=Shape(info.takes),
        summary=info.summary,
        example=info.example,
        choices=info.choices,
        low=info.low,
        high=info.high,
        default=default,
    )


def _shown(keys: tuple[Key, ...]) -> str:
    """Return an example of one of the keys of a controller, of one that is its own where it has any."""
    own = [key for key in keys if key.name not in keys_of(Controller)]
    return f"{(own or keys)[0].name} = {(own or keys)[0].example}"


def _limits_key(name: str, info: KeyInfo, kind: type[Controller]) -> Key:
    """Return the table of the directives that `kind` may move; an example of every controller's is made to fit it."""
    directives = [BY_PROPERTY[name] for name in kind.properties]
    first = directives[0]
    fits = info != keys_of(Controller).get(name) or first.name in info.example
    example = info.example if fits else f"{{ {first.name} = {directive_example(first)} }}"
    return _table(name, info.summary, example, *_directives(directives))


_KUBERNETES = _table(
    "kubernetes",
    "The pod that the container is in",
    '{ namespace = "shop", qos = "burstable" }',
    _globs("namespace", "The pod's namespace", '"shop"'),
    _globs("pod", "The pod's name", '"cart-*"'),
    _globs("container", "The container's name within its pod", '"sidecar"'),
    _globs("qos", "The pod's class: guaranteed, burstable or besteffort", '"besteffort"'),
)

POLICY_TABLES: Final = (
    _table(
        "policy",
        "The policy itself",
        '{ mode = "observe" }',
        _mode("Whether what it asks for is written (enforce) or only reported (observe)"),
    ),
    _table(
        "match",
        "Which containers the policy is for; all keys must hold",
        '{ name = "web-*" }',
        _globs("runtime", "docker, podman, containerd, crio, nspawn, lxc or systemd", '["docker", "podman"]'),
        _globs("name", "The container's name", '"web-*"'),
        _globs("image", "The image's name", '"*/postgres:*"'),
        _globs("unit", "The systemd unit; a plain service only by its full name", '"backup.service"'),
        _globs("slice", "The slice that the unit lies in", '"machine.slice"'),
        _globs("user", "Name or uid of the user whose manager has the container", '["alice", 1001]', numbers=True),
        Key(
            name="labels",
            shape=Shape.LABELS,
            summary="The container's labels, every one of which must hold",
            example='{ tier = "frontend" }',
        ),
        _KUBERNETES,
    ),
    _table(
        "limits", "systemd's own directives", '{ CPUWeight = 300, MemoryHigh = "512M" }', *_directives(BY_NAME.values())
    ),
)
"""What every policy file may say, whichever controllers there are."""


def policy_table(controllers: Mapping[str, type[Controller]]) -> Key:
    """Return what a policy file may say where there are these controllers."""
    tables = (controller_table(kind) for kind in controllers.values())
    control = _table("control", "Feedback, by controller", "{ cpu-throttle = { target = 0.05 } }", *tables)
    return _table("", "One policy", "", *POLICY_TABLES, control)


POLICY: Final = policy_table(CONTROLLERS)
"""What a policy file may say."""

HOST: Final = _table(
    "",
    "The settings of the host",
    "",
    _table(
        "governor",
        "How the daemon works on this host",
        '{ mode = "observe" }',
        _mode("Caps every policy's mode: observe writes nothing at all"),
        Key(
            name="interval",
            shape=Shape.TIMESPAN,
            summary="Length of a round, 100 ms to 1 min",
            example='"1s"',
            low=USEC_PER_SEC // 10,
            high=60 * USEC_PER_SEC,
        ),
        Key(
            name="resync",
            shape=Shape.TIMESPAN,
            summary="How often everything is looked at anew, 1 s to 1 h",
            example='"30s"',
            low=USEC_PER_SEC,
            high=3600 * USEC_PER_SEC,
        ),
        Key(
            name="protected",
            shape=Shape.GLOBS,
            summary="More units that are never written",
            example='["vpn-*.service"]',
            may_be_empty=True,
        ),
        Key(
            name="actions_per_minute",
            shape=Shape.COUNT,
            summary="How many actions of controllers there may be on the whole host, 0 to 10000",
            example="60",
            low=0,
            high=10_000,
        ),
        _table(
            "kubernetes",
            "What is done beside a kubelet",
            "{ write = true }",
            Key(
                name="write",
                shape=Shape.BOOLEAN,
                summary="Whether pods may be written, which is the kubelet's business unless it is said here",
                example="true",
            ),
        ),
    ),
)
"""What governor.toml may say."""

QOS: Final = ("guaranteed", "burstable", "besteffort")
"""The classes of pods that the kubelet knows."""
