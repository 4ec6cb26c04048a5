"""The command line as data: the one description from which --help, the man page and the completions are made.

`handler` is `module:function` below governor.cli, imported only when that command runs.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from governor import __version__
from governor.cli.exits import MEANINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - the type has no public name

_EPILOG: Final = "exit codes:\n" + "\n".join(f"  {code.value}  {text}" for code, text in MEANINGS.items())


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of governorctl with all its commands."""
    parser = argparse.ArgumentParser(
        prog="governorctl",
        description="See and steer what the governor does with the containers of this host.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"governorctl {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (_reading, _changing, _policies, _feedback, _host, _running):
        add(commands)
    return parser


def _command(
    commands: Commands, name: str, handler: str, summary: str, description: str = "", **more: object
) -> argparse.ArgumentParser:
    """Add one command with its --json and its handler, and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description or summary[0].upper() + summary[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **more,  # type: ignore[arg-type]
    )
    parser.add_argument("--json", action="store_true", help="print JSON for programs instead of text for people")
    parser.set_defaults(handler=handler)
    return parser


def _container(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("container", metavar="CONTAINER", help="name, unit, or the id or its first characters")


def _reading(commands: Commands) -> None:
    _command(commands, "status", "inspect:status", "show the daemon's mode, policies and features")
    listing = _command(commands, "list", "inspect:list_containers", "list the containers that are seen", aliases=["ls"])
    listing.add_argument("-q", "--quiet", action="store_true", help="print names only, or ids where there is no name")
    _container(_command(commands, "show", "inspect:show", "show all that is known about one container"))
    _container(
        _command(
            commands,
            "explain",
            "inspect:explain",
            "explain each limit of one container",
            "For each limit: its value, the original, who set it and why, since when, until when, and which other\n"
            "policies or requests asked for something else and lost.",
        )
    )


def _changing(commands: Commands) -> None:
    _command(commands, "reload", "change:reload", "load policies and settings again and report every problem")
    mode = _command(commands, "mode", "change:mode", "show or switch the host's mode")
    mode.add_argument("mode", nargs="?", choices=["observe", "enforce"], help="report only, or set limits")
    limits = _command(
        commands,
        "set",
        "change:set_limits",
        "set limits of one container",
        "Set limits in systemd's own words (man systemd.resource-control), for a time or until they are released.\n"
        "A directive that takes a list may be given several times.\n\n"
        "example: governorctl set web-1 MemoryHigh=512M CPUQuota=150% --for 10min",
    )
    _container(limits)
    limits.add_argument("assignments", metavar="DIRECTIVE=VALUE", nargs="+", help="as in a unit file")
    limits.add_argument("--for", dest="duration", metavar="TIME", default="", help="how long, as in 10min or 1h 30min")
    _container(_command(commands, "release", "change:release", "take back what `set` did and return yielded limits"))


def _policies(commands: Commands) -> None:
    check = _command(
        commands,
        "check",
        "check:check",
        "check policy files without the daemon",
        "Check policy files, or every *.toml of a directory, and print every problem with its place. Needs no daemon.",
    )
    check.add_argument("paths", metavar="FILE|DIR", nargs="+", help="policy files, governor.toml, or directories")
    schema = _command(commands, "schema", "schema:schema", "print the JSON Schema of policy files, for editors")
    schema.add_argument(
        "file",
        nargs="?",
        choices=["policy", "governor"],
        default="policy",
        help="which file's: a policy's (default) or governor.toml's",
    )


def _feedback(commands: Commands) -> None:
    top = _command(
        commands,
        "top",
        "top:top",
        "show what the containers use, live",
        "Show what each container uses, how much it waits, and its limits with who set them.\n"
        "On the screen: q quits; c m i p t n sort by CPU, memory, IO, pressure, throttling, name; r turns it around.",
    )
    top.add_argument("--interval", metavar="TIME", default="1s", help="time between two looks; default: 1s")
    top.add_argument("--sort", choices=["cpu", "memory", "io", "pressure", "throttled", "name"], default="cpu")
    top.add_argument("--once", action="store_true", help="print one table and end")
    record = _command(
        commands,
        "record",
        "record:record",
        "record what the containers do, for `simulate`",
        "Record every signal of the containers, and their limits, until Ctrl-C is pressed or --for is over.\n\n"
        "example: governorctl record monday.rec --for 10min",
    )
    record.add_argument("recording", metavar="FILE", help="what is there is replaced")
    record.add_argument("--interval", metavar="TIME", default="1s", help="time between two looks; default: 1s")
    record.add_argument("--for", dest="duration", metavar="TIME", default="", help="how long; default: until Ctrl-C")
    record.add_argument(
        "--container",
        action="append",
        dest="containers",
        default=[],
        metavar="C",
        help="only this one; may be repeated",
    )
    _simulate(commands)


def _simulate(commands: Commands) -> None:
    simulate = _command(
        commands,
        "simulate",
        "simulate:simulate",
        "tell what policies would have done to what was recorded",
        "Step the controllers of policies over a recording and print each decision that they would have made.\n"
        "What was recorded does not change by it, so nothing is judged and nothing is undone.\n\n"
        "example: governorctl simulate --policy 50-web.toml monday.rec --plot monday.svg",
    )
    simulate.add_argument("recording", metavar="RECORDING", help="what `record` has written")
    simulate.add_argument(
        "--policy", action="append", default=[], metavar="FILE", help="a policy's file; may be repeated"
    )
    simulate.add_argument("--policies", metavar="DIR", help="every *.toml of a directory")
    simulate.add_argument("--container", default="", metavar="C", help="report this one only")
    simulate.add_argument("--plot", default="", metavar="FILE", help="draw it, as .svg, .png or .pdf (with matplotlib)")


def _host(commands: Commands) -> None:
    _command(commands, "signals", "signals:signals", "list what can be measured, with units and meaning")
    _command(commands, "doctor", "doctor:doctor", "tell which features this host offers and what lacks turn off")
    completion = _command(commands, "completion", "completion:completion", "print the completion script for a shell")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"], help="the shell to be completed in")


def _running(commands: Commands) -> None:
    run = _command(
        commands,
        "run",
        "run:run",
        "run a command in a scope with a policy's limits",
        "Run a command in a transient scope that has the limits of one policy, and return the command's exit code.\n\n"
        "example: governorctl run --policy 50-batch -- make -j8",
    )
    run.add_argument("--policy", required=True, metavar="NAME", help="the policy, by its file's name without .toml")
    run.add_argument(
        "--unit", default="", metavar="NAME", help="name of the scope; default: governor-run-<policy>-<random>"
    )
    run.add_argument("--user", action="store_true", help="ask the user's own service manager, without privileges")
    run.add_argument(
        "--property", action="append", default=[], metavar="DIRECTIVE=VALUE", help="a limit on top of the policy's"
    )
    run.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="the command and its arguments")


def each_command(visit: Callable[[str, argparse.ArgumentParser], None]) -> None:
    """Call `visit` with the name and the parser of every command (aliases apart), in the order of the help."""
    for action in build_parser()._actions:  # noqa: SLF001 - argparse has no public way to list its commands
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            seen: set[int] = set()
            for name, parser in action.choices.items():
                if id(parser) not in seen:
                    seen.add(id(parser))
                    visit(name, parser)
