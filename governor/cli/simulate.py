"""simulate: what policies would have decided, had they been in force while a recording was made. Needs no daemon."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governor.cli import output
from governor.cli.check import draft, policy_files
from governor.cli.client import Row, choose
from governor.cli.exits import Exit
from governor.cli.words import deed, limit_words
from governor.model.errors import Gone, PolicyError, Problem
from governor.model.policy import Mode
from governor.model.step import StepKind
from governor.model.values import USEC_PER_SEC
from governor.policy.parse import parse_policy
from governor.service.playback import Playback
from governor.service.recorded_container import NotARecording
from governor.service.replay import Replay

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from governor.cli.plot import Drawing
    from governor.model.container import Container
    from governor.model.policy import Policy
    from governor.model.step import Step
    from governor.policy.merge import Merged


@dataclass(slots=True)
class Told:
    """What a simulation came to."""

    replay: Replay
    steps: list[Step] = field(default_factory=list)
    ticks: int = 0
    length_sec: float = 0.0


def simulate(arguments: Namespace) -> int:
    """Go through the recording and report; draw it where that is asked for."""
    if not arguments.policy and not arguments.policies:
        output.complain("simulate takes policies: --policy FILE, or --policies DIR")
        return Exit.USAGE
    drawing = _drawing(arguments)
    policies = load_policies(arguments.policy, arguments.policies)
    try:
        with Path(arguments.recording).open("rb") as file:
            playback = Playback(file)
            told = _told(Replay(policies, playback), drawing)
    except NotARecording as error:
        output.complain(f"{arguments.recording} is no recording: {error}")
        return Exit.FAILURE
    except OSError as error:
        output.complain(f"{arguments.recording}: {error.strerror}")
        return Exit.FAILURE
    if playback.warning:
        output.complain(f"{arguments.recording}: {playback.warning}")
    chosen = _chosen(told, arguments.container)
    _report(arguments, told, chosen)
    if drawing is not None:
        drawing.write(Path(arguments.plot), told.replay, chosen)
    return Exit.OK


def load_policies(files: Iterable[str], directory: str | None) -> list[Policy]:
    """Return the policies of `files` and of a directory; raise PolicyError with every problem of all of them."""
    paths = [*map(Path, files), *(policy_files(Path(directory)) if directory else ())]
    policies: list[Policy] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            policies.append(parse_policy(draft(path), name=path.stem, file=str(path), default_mode=Mode.ENFORCE))
        except PolicyError as error:
            problems += error.problems
    if problems:
        raise PolicyError(tuple(problems))
    return policies


def _drawing(arguments: Namespace) -> Drawing | None:
    """Return what collects the plot, before anything is computed that it could not draw. Raises Unsupported."""
    if not arguments.plot:
        return None
    from governor.cli.plot import Drawing, require  # noqa: PLC0415 - matplotlib takes a second, and may not be there

    require(Path(arguments.plot))
    return Drawing()


def _told(replay: Replay, drawing: Drawing | None) -> Told:
    told, first = Told(replay), 0
    for moment in replay.moments():
        first = first or moment.frame.time_usec
        told.steps += moment.steps
        told.ticks += 1
        told.length_sec = (moment.frame.time_usec - first) / USEC_PER_SEC
        if drawing is not None:
            drawing.add(moment)
    return told


def _chosen(told: Told, wanted: str) -> frozenset[int]:
    """Return the inodes that are reported: all, or what was asked for, as often as it was made anew. Raises Gone."""
    seen = told.replay.seen
    named = frozenset(inode for inode, one in seen.items() if not wanted or wanted == one.name)
    if named or not wanted:
        return named
    rows = {inode: Row(one.id, one.name, one.runtime, one.unit, str(inode)) for inode, one in seen.items()}
    try:
        found = choose(list(rows.values()), wanted)
    except Gone as error:
        raise Gone(str(error).replace("governorctl list shows all", "the recording has others")) from error
    return frozenset({int(found.path)})


def _report(arguments: Namespace, told: Told, chosen: frozenset[int]) -> None:
    steps = [step for step in told.steps if not step.inode or step.inode in chosen]
    if arguments.json:
        output.print_json(_as_dict(told, steps, chosen))
        return
    rows = [_row(told, step) for step in steps]
    if rows:
        output.print_table(("TIME", "CONTAINER", "CONTROLLER", "STEP", "WHAT", "WHY"), rows)
        print()
    for problem in told.replay.problems:
        output.complain(problem.render())
    _summary(told, steps, chosen)


def _row(told: Told, step: Step) -> tuple[str, ...]:
    moment = datetime.fromtimestamp(told.replay.wall_usec(step.time_usec) / USEC_PER_SEC, tz=UTC).astimezone()
    return (
        moment.strftime("%H:%M:%S"),
        output.name(container_name(told.replay.seen.get(step.inode))),
        step.controller,
        _styled(step.kind),
        output.safe(deed(step)),
        output.safe(step.reason),
    )


def _styled(kind: StepKind) -> str:
    colours = {StepKind.DECIDED: "green", StepKind.FAILED: "red", StepKind.BUDGET: "yellow"}
    return output.styled(str(kind), colours[kind]) if kind in colours else str(kind)


def container_name(container: Container | None) -> str:
    """Return what a container is called; the host where there is none."""
    return "host" if container is None else container.name or container.id[:12]


def _summary(told: Told, steps: list[Step], chosen: frozenset[int]) -> None:
    """Print what the policies came to for each container, and how often each controller acted."""
    rows = []
    for inode in sorted(chosen, key=lambda inode: container_name(told.replay.seen[inode])):
        merged = told.replay.merged[inode]
        counts = Counter(str(step.kind) for step in steps if step.inode == inode)
        if not merged.policies:
            continue
        rows.append(
            (
                output.name(container_name(told.replay.seen[inode])),
                output.safe(" ".join(merged.policies)),
                output.safe(" ".join(sorted(merged.controls)) or "-"),
                output.safe(_static(merged)),
                ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "nothing to do",
            )
        )
    if rows:
        output.print_table(("CONTAINER", "POLICIES", "CONTROLS", "LIMITS", "STEPS"), rows)
        print()
    unmatched = len(chosen) - len(rows)
    print(f"{told.ticks} ticks, {told.length_sec:.0f} s, {len(chosen)} containers, {unmatched} without a policy")


def _static(merged: Merged) -> str:
    return limit_words({name: setting.value for name, setting in merged.settings.items()}) or "-"


def _as_dict(told: Told, steps: list[Step], chosen: frozenset[int]) -> dict[str, Any]:
    seen, merged = told.replay.seen, told.replay.merged
    return {
        "ticks": told.ticks,
        "seconds": told.length_sec,
        "containers": [
            {
                "id": seen[inode].id,
                "name": seen[inode].name,
                "runtime": seen[inode].runtime,
                "policies": list(merged[inode].policies),
                "controls": sorted(merged[inode].controls),
            }
            for inode in sorted(chosen)
        ],
        "steps": [
            {
                "time_usec": told.replay.wall_usec(step.time_usec),
                "container": seen[step.inode].id if step.inode in seen else "",
                "controller": step.controller,
                "step": str(step.kind),
                "what": deed(step),
                "limits": dict(step.limits),
                "why": step.reason,
            }
            for step in steps
        ],
        "problems": [problem.render() for problem in told.replay.problems],
    }
