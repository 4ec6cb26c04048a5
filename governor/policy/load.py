"""Policy files on disk: three layers of directories, of which the same file name masks, and governor.toml."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from governor.model.errors import PolicyError, Problem
from governor.model.policy import HostSettings, Mode, Policy
from governor.policy.files import read_text, toml_names
from governor.policy.parse import parse_policy, parse_settings

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One directory of policies and the mode of those in it that state none."""

    path: Path
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Directories:
    """Where policies are looked for, the first layer masking the others by file name.

    `root` is put before all paths and `uid` is whose files are trusted: both are for tests.
    """

    layers: tuple[Layer, ...] = (
        Layer(path=Path("/etc/governor/policies.d"), mode=Mode.ENFORCE),
        Layer(path=Path("/run/governor/policies.d"), mode=Mode.ENFORCE),
        Layer(path=Path("/usr/lib/governor/policies.d"), mode=Mode.OBSERVE),
    )
    settings: Path = Path("/etc/governor/governor.toml")
    root: Path = Path("/")
    uid: int = 0

    def below_root(self, path: Path) -> Path:
        """Return `path` as it is found on this host."""
        return self.root / path.relative_to(path.anchor)

    def watched(self) -> tuple[Path, ...]:
        """Return the directories in which a change calls for a reload; those that exist need not be all."""
        return (*(self.below_root(layer.path) for layer in self.layers), self.below_root(self.settings.parent))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One policy file as it was read: enough to parse it again without the disk."""

    name: str
    file: str
    mode: Mode
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySet:
    """All policies of the host in the order of their names, its settings, and the texts that both come from."""

    policies: tuple[Policy, ...] = ()
    settings: HostSettings = field(default_factory=HostSettings)
    sources: tuple[Source, ...] = ()
    settings_source: Source | None = None


def load(directories: Directories) -> PolicySet:
    """Return every policy that is not masked, and the settings; raise PolicyError with every problem of every file."""
    problems: list[Problem] = []
    sources = [
        source
        for path, mode in _unmasked(directories, problems)
        if (source := _source(path, mode, directories.uid, problems)) is not None
    ]
    settings_path = directories.below_root(directories.settings)
    settings = _source(settings_path, Mode.ENFORCE, directories.uid, problems)
    return parsed(sources, settings, problems)


def load_settings(directories: Directories) -> HostSettings:
    """Return the host's settings alone; raise PolicyError with what is wrong with them, whatever the policies are."""
    problems: list[Problem] = []
    source = _source(directories.below_root(directories.settings), Mode.ENFORCE, directories.uid, problems)
    return parsed((), source, problems).settings


def parsed(sources: Iterable[Source], settings: Source | None, problems: Iterable[Problem] = ()) -> PolicySet:
    """Return the set that the texts come to; raise PolicyError with `problems` and every problem of every text."""
    found = list(problems)
    policies = [policy for source in sources if (policy := _policy(source, found)) is not None]
    host = HostSettings() if settings is None else _host(settings, found)
    if found or host is None:
        raise PolicyError(tuple(found))
    return PolicySet(policies=tuple(policies), settings=host, sources=tuple(sources), settings_source=settings)


def _unmasked(directories: Directories, problems: list[Problem]) -> list[tuple[Path, Mode]]:
    """Return the files that no higher layer masks, in the order of their names."""
    by_name: dict[str, tuple[Path, Mode]] = {}
    for layer in reversed(directories.layers):
        directory = directories.below_root(layer.path)
        try:
            by_name |= {name: (directory / name, layer.mode) for name in toml_names(directory, directories.uid)}
        except PolicyError as error:
            problems.extend(error.problems)
    return [by_name[name] for name in sorted(by_name)]


def _source(path: Path, mode: Mode, uid: int, problems: list[Problem]) -> Source | None:
    """Return a file as it was read; None where it is disabled or gone, or, with a problem noted, refused."""
    try:
        text = read_text(path, uid)
    except PolicyError as error:
        problems.extend(error.problems)
        return None
    return None if text is None else Source(name=path.stem, file=str(path), mode=mode, text=text)


def _policy(source: Source, problems: list[Problem]) -> Policy | None:
    try:
        return parse_policy(source.text, name=source.name, file=source.file, default_mode=source.mode)
    except PolicyError as error:
        problems.extend(error.problems)
        return None


def _host(source: Source, problems: list[Problem]) -> HostSettings | None:
    try:
        return parse_settings(source.text, file=source.file)
    except PolicyError as error:
        problems.extend(error.problems)
        return None
