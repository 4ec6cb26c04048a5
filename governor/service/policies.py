"""The policies on disk: read as a whole set, kept as the last good one, refused in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.exporters import messages
from governor.model.errors import PolicyError, Unsupported
from governor.policy.last_good import load_or_last_good, save_last_good
from governor.policy.load import Directories, PolicySet, load

if TYPE_CHECKING:
    from pathlib import Path

    from governor.exporters.journal import Journal
    from governor.model.errors import Problem
    from governor.service.paths import Paths


class Policies:
    """Reads the set, and tells the journal what became of it. Its methods block on the disk: call them in a worker."""

    def __init__(self, directories: Directories, paths: Paths, journal: Journal) -> None:
        self._directories = directories
        self._paths = paths
        self._journal = journal
        self._refused: tuple[Problem, ...] = ()

    def first(self) -> PolicySet:
        """Return the set to start with: what is on disk, or the last good one where that is refused."""
        policies, problems = load_or_last_good(self._directories, self._paths.last_good)
        if problems:
            self._tell(PolicyError(problems), "the last good set is in force")
        else:
            self._keep(policies)
        return policies

    def read(self) -> PolicySet:
        """Return the set on disk. Raises PolicyError, in the journal too, and then nothing has changed."""
        try:
            policies = load(self._directories)
        except PolicyError as error:
            self._tell(error, "the set in force stays")
            raise
        self._refused = ()
        self._keep(policies)
        return policies

    def watched(self) -> tuple[Path, ...]:
        """Return the directories in which a change calls for a new look."""
        return self._directories.watched()

    def _tell(self, error: PolicyError, consequence: str) -> None:
        """Say once what is wrong: an editor saves the same mistake several times."""
        if error.problems != self._refused:
            self._refused = error.problems
            self._journal.log(messages.POLICY_REFUSED, f"policies refused, {consequence}:\n{error}")

    def _keep(self, policies: PolicySet) -> None:
        try:
            save_last_good(policies, self._paths.last_good)
        except Unsupported as error:
            self._journal.log(messages.FEATURE_OFF, str(error))
