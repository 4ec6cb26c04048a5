"""reload, mode, set, release: what changes something, which root and whom polkit allows may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.cli import output
from governor.cli.client import MANAGER, PATH, ask
from governor.cli.exits import Exit
from governor.cli.values import assignments, to_variant
from governor.model.values import INFINITY
from governor.policy.units import timespan
from governor.policy.words import quoted

if TYPE_CHECKING:
    from argparse import Namespace

    from governor.cli.client import Client, Row


def reload(arguments: Namespace) -> int:
    """Load the policies again; a refused policy is a failure with all its problems."""
    ask(lambda client: client.manager("Reload"))
    _done(arguments, {"reloaded": True}, "the policies are loaded")
    return Exit.OK


def mode(arguments: Namespace) -> int:
    """Show the host's mode, or switch it."""
    if arguments.mode is None:
        current = str(ask(lambda client: client.properties(PATH, MANAGER)).get("Mode", ""))
        _done(arguments, {"mode": current}, output.safe(current))
        return Exit.OK
    ask(lambda client: client.manager("SetMode", "s", [arguments.mode]))
    _done(arguments, {"mode": arguments.mode}, f"the mode is {arguments.mode}")
    return Exit.OK


def set_limits(arguments: Namespace) -> int:
    """Set limits of one container, as a lease of --for or until they are released."""
    try:
        values = assignments(arguments.assignments)
        lease_usec = _lease_usec(arguments.duration)
    except ValueError as error:
        output.complain(str(error))
        return Exit.USAGE
    body = [[name, to_variant(name, value)] for name, value in values.items()]

    async def work(client: Client) -> Row:
        row = await client.resolve(arguments.container)
        await client.manager("SetLimits", "sa(sv)t", [row.id, body, lease_usec])
        return row

    row = ask(work)
    _done(arguments, {"container": row.as_dict(), "lease_usec": lease_usec}, f"{output.name(row.name)}: set")
    return Exit.OK


def _lease_usec(duration: str) -> int:
    """Return --for in µs, 0 for until release; raise ValueError for what is no time that ends."""
    if not duration:
        return 0
    try:
        lease_usec = timespan(duration)
    except ValueError as error:
        raise ValueError(f"--for={quoted(duration)} {error}; it takes a time, as in 10min") from error
    if lease_usec in (0, INFINITY):
        raise ValueError("--for takes a time that ends, as in 10min; leave it out to set until release")
    return lease_usec


def release(arguments: Namespace) -> int:
    """Take back what SetLimits did to one container."""

    async def work(client: Client) -> Row:
        row = await client.resolve(arguments.container)
        await client.manager("Release", "s", [row.id])
        return row

    row = ask(work)
    _done(arguments, {"container": row.as_dict()}, f"{output.name(row.name)}: released")
    return Exit.OK


def _done(arguments: Namespace, answer: dict[str, Any], text: str) -> None:
    """Say what was done, in JSON or in words."""
    if arguments.json:
        output.print_json(answer)
    else:
        print(text)
