"""status, list, show, explain: what the daemon sees and why it does what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.cli import output
from governor.cli.client import CONTAINER, MANAGER, PATH, ask
from governor.cli.exits import Exit
from governor.cli.values import json_value, shown

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from governor.cli.client import Client, Row

_ID_COLUMNS = 12
"""As docker and podman shorten ids."""


def status(arguments: Namespace) -> int:
    """Show the daemon's version, mode, load, features and policies."""

    async def work(client: Client) -> tuple[dict[str, Any], list[list[str]]]:
        return await client.properties(PATH, MANAGER), (await client.manager("ListPolicies"))[0]

    manager, policies = ask(work)
    rows = [{"name": name, "file": file, "mode": mode} for name, file, mode in policies]
    if arguments.json:
        output.print_json({**manager, "Policies": rows})
        return Exit.OK
    mode = str(manager.get("Mode", ""))
    output.print_fields(
        [
            ("Version", output.safe(str(manager.get("Version", "")))),
            ("Mode", output.styled(output.safe(mode), "green" if mode == "enforce" else "yellow")),
            ("Containers", str(manager.get("NContainers", "-"))),
            ("Last tick", f"{manager.get('LastTickUSec', 0) / 1000:.1f} ms"),
            ("Features", output.safe(", ".join(manager.get("Features", [])) or "-")),
        ]
    )
    print()
    output.print_table(
        ("POLICY", "MODE", "FILE"),
        [(output.name(row["name"]), output.safe(row["mode"]), output.safe(row["file"])) for row in rows],
    )
    return Exit.OK


def list_containers(arguments: Namespace) -> int:
    """List the containers."""
    rows = ask(lambda client: client.containers())
    if arguments.json:
        output.print_json([row.as_dict() for row in rows])
        return Exit.OK
    if arguments.quiet:
        for row in rows:
            print(output.safe(row.name or row.id))
        return Exit.OK
    output.print_table(
        ("NAME", "RUNTIME", "ID", "UNIT"),
        [(output.name(row.name), output.name(row.runtime), _short(row), output.name(row.unit)) for row in rows],
    )
    return Exit.OK


def _short(row: Row) -> str:
    return output.name(row.id[:_ID_COLUMNS])


def show(arguments: Namespace) -> int:
    """Show all properties of one container."""

    async def work(client: Client) -> dict[str, Any]:
        row = await client.resolve(arguments.container)
        return await client.properties(row.path, CONTAINER)

    container = ask(work)
    limits, originals = container.pop("Limits", {}), container.pop("Originals", {})
    if arguments.json:
        container["Limits"] = {name: json_value(name, value) for name, value in limits.items()}
        container["Originals"] = {name: json_value(name, value) for name, value in originals.items()}
        output.print_json(container)
        return Exit.OK
    output.print_fields(_described(container))
    if limits:
        print()
        rows = [(output.directive(p), shown(p, limits[p]), shown(p, originals.get(p))) for p in sorted(limits)]
        output.print_table(("LIMIT", "VALUE", "ORIGINAL"), rows)
    return Exit.OK


def _described(container: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is known about a container but for its limits, one label a line."""
    for label, value in container.items():
        if isinstance(value, dict):
            for key, item in sorted(value.items()):
                yield label, f"{output.safe(key)}={output.safe(str(item))}"
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield label, output.safe(text) or "-"


def explain(arguments: Namespace) -> int:
    """Explain each limit of one container."""

    async def work(client: Client) -> tuple[Row, list[dict[str, Any]]]:
        row = await client.resolve(arguments.container)
        return row, (await client.manager("Explain", "s", [row.id]))[0]

    row, limits = ask(work)
    if arguments.json:
        output.print_json([_explanation(limit) for limit in limits])
        return Exit.OK
    if not limits:
        print(f"{output.name(row.name)}: no policy sets a limit")
    for index, limit in enumerate(limits):
        _print_explanation(limit, first=index == 0)
    return Exit.OK


def _explanation(limit: dict[str, Any]) -> dict[str, Any]:
    name = str(limit.get("Property", ""))
    values: dict[str, Any] = {key: json_value(name, limit[key]) for key in ("Value", "Original") if key in limit}
    return {**limit, "Directive": output.directive(name), **values}


def _print_explanation(limit: dict[str, Any], *, first: bool) -> None:
    """Print one limit: a line that says what is, and indented what it comes from."""
    name = str(limit.get("Property", ""))
    if not first:
        print()
    heading = f"{output.directive(name)}={shown(name, limit.get('Value'))}"
    state = str(limit.get("State", ""))
    tail = f"  [{output.safe(state)}]" if state else ""
    print(f"{output.styled(heading, 'bold')}{tail}")
    lost = [str(loser) for loser in limit.get("Overrides", [])]
    details = [
        ("original", shown(name, limit.get("Original"))),
        ("set by", output.safe(str(limit.get("Source", ""))) or "-"),
        ("because", output.safe(str(limit.get("Reason", ""))) or "-"),
        ("since", output.moment(int(limit.get("Since", 0)))),
        ("until", output.moment(int(limit.get("Until", 0))) if limit.get("Until") else "it is released"),
        *(("over", output.safe(loser)) for loser in lost),
    ]
    for label, value in details:
        print(f"  {label:>8}: {value}")
