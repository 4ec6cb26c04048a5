"""What a host can do, as `governorctl doctor` tells it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature: whether it was found, and what it is for or what its absence turns off."""

    name: str
    available: bool
    meaning: str
