"""The one table of tables and keys: the parser, the JSON Schema and the reference all read it.

To add a key, add a line here and read its value where parse.py builds the policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from governor.model.directives import BY_NAME
from governor.model.values import USEC_PER_SEC


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
    bounds_usec: tuple[int, int] = (0, 0)
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


def _directives() -> tuple[Key, ...]:
    return tuple(
        Key(name=directive.name, shape=Shape.DIRECTIVE, summary=directive.summary, example="")
        for directive in BY_NAME.values()
    )


_KUBERNETES = _table(
    "kubernetes",
    "The pod that the container is in",
    '{ namespace = "shop", qos = "burstable" }',
    _globs("namespace", "The pod's namespace", '"shop"'),
    _globs("pod", "The pod's name", '"cart-*"'),
    _globs("container", "The container's name within its pod", '"sidecar"'),
    _globs("qos", "The pod's class: guaranteed, burstable or besteffort", '"besteffort"'),
)

POLICY: Final = _table(
    "",
    "One policy",
    "",
    _table(
        "policy",
        "The policy itself",
        '{ mode = "observe" }',
        _mode("Whether the limits are written (enforce) or only reported (observe)"),
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
    _table("limits", "systemd's own directives", '{ CPUWeight = 300, MemoryHigh = "512M" }', *_directives()),
)
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
            bounds_usec=(USEC_PER_SEC // 10, 60 * USEC_PER_SEC),
        ),
        Key(
            name="resync",
            shape=Shape.TIMESPAN,
            summary="How often everything is looked at anew, 1 s to 1 h",
            example='"30s"',
            bounds_usec=(USEC_PER_SEC, 3600 * USEC_PER_SEC),
        ),
        Key(
            name="protected",
            shape=Shape.GLOBS,
            summary="More units that are never written",
            example='["vpn-*.service"]',
            may_be_empty=True,
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
