"""Keep the last set of policies that was good, for a start on a bad file."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from governor.model.errors import PolicyError, Problem, Unsupported
from governor.model.policy import HostSettings, Mode
from governor.policy.files import read_text, refused
from governor.policy.load import Directories, PolicySet, Source, load, load_settings, parsed

if TYPE_CHECKING:
    from pathlib import Path

_VERSION: Final = 1
_MAX_BYTES: Final = 64 * 1024 * 1024


def save_last_good(policies: PolicySet, path: Path) -> None:
    """Write the texts of a set to `path`, so that a crash leaves either the old file or the new one.

    The texts are kept and not what was made of them, so that a newer version reads them with its own parser. Raises
    Unsupported where the file cannot be written: the set itself is as good as before.
    """
    document = {
        "version": _VERSION,
        "policies": [_as_json(source) for source in policies.sources],
        "settings": policies.settings_source and _as_json(policies.settings_source),
    }
    beside = path.with_name(f".{path.name}.new")
    try:
        _write_through(beside, json.dumps(document).encode())
        beside.replace(path)
        _sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise Unsupported(f"the last good policies cannot be kept in {path}: {error.strerror}") from error


def load_last_good(path: Path, uid: int = 0) -> PolicySet | None:
    """Return the set kept in `path`, parsed anew; None where none was kept.

    Raises PolicyError where the file is damaged, where another than `uid` could have written it, or where a policy in
    it is refused by now.
    """
    text = read_text(path, uid, _MAX_BYTES)
    if text is None:
        return None
    try:
        document = json.loads(text)
        _require_version(document)
        sources = tuple(_from_json(entry) for entry in document["policies"])
        settings = None if document["settings"] is None else _from_json(document["settings"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise refused(str(path), f"is no set of policies that this version kept: {error}") from error
    return parsed(sources, settings)


def load_or_last_good(directories: Directories, path: Path) -> tuple[PolicySet, tuple[Problem, ...]]:
    """Return the policies on disk, or the last good set with what is wrong on disk.

    Where none was kept, the set has no policies but the settings on disk: a unit that is protected there stays so. If
    they are bad too, nothing is known of what may be written, so the mode is observe.
    """
    try:
        return load(directories), ()
    except PolicyError as error:
        problems = error.problems
    try:
        kept = load_last_good(path, directories.uid)
    except PolicyError as error:
        kept, problems = None, problems + error.problems
    return kept or PolicySet(settings=_settings_or_observe(directories)), problems


def _settings_or_observe(directories: Directories) -> HostSettings:
    try:
        return load_settings(directories)
    except PolicyError:
        return HostSettings(mode=Mode.OBSERVE)


def _as_json(source: Source) -> dict[str, str]:
    return {"name": source.name, "file": source.file, "mode": source.mode, "text": source.text}


def _from_json(entry: Any) -> Source:
    name, file, mode, text = (entry[key] for key in ("name", "file", "mode", "text"))
    if not all(isinstance(value, str) for value in (name, file, text)):
        raise TypeError("a text is missing")
    return Source(name=name, file=file, mode=Mode(mode), text=text)


def _require_version(document: Any) -> None:
    if document["version"] != _VERSION:
        raise ValueError(f"its version is {document['version']}")


def _write_through(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, down to the disk."""
    with suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync(directory: Path) -> None:
    """Make a rename in `directory` last."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
