"""A guest by hand: `python3 -m tests.vm up`, then `run`, `push`, `pull`, `reset` and `down`."""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.vm import image
from tests.vm.guest import Guest, GuestError
from tests.vm.image import ImageError
from tests.vm.qemu import QemuError

Action = Callable[[argparse.Namespace], int]


def attached(arguments: argparse.Namespace) -> Guest:
    """Return the guest that `up` started."""
    return Guest.attach(arguments.suite, arguments.name)


def build(arguments: argparse.Namespace) -> int:
    """Build the image, if this recipe has none yet."""
    print(image.build(arguments.suite, force=arguments.force).directory)
    return 0


def up(arguments: argparse.Namespace) -> int:
    """Start a guest and leave it running; say how long it took."""
    try:
        attached(arguments)
    except QemuError:
        start = time.monotonic()
        Guest.detach(arguments.suite, arguments.name)
        print(f"up after {time.monotonic() - start:.1f} s")
    else:
        print("already up")
    return 0


def run(arguments: argparse.Namespace) -> int:
    """Run a command, or a shell script if it is one argument; stdin is passed on unless it is a terminal."""
    stdin = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    argv = ["sh", "-c", *arguments.argv] if len(arguments.argv) == 1 else arguments.argv
    done = attached(arguments).run(*argv, stdin=stdin, timeout=arguments.timeout, check=False)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.code


def push(arguments: argparse.Namespace) -> int:
    """Copy a file or a directory to the guest."""
    attached(arguments).push(Path(arguments.source), arguments.destination)
    return 0


def pull(arguments: argparse.Namespace) -> int:
    """Copy a file or a directory from the guest."""
    attached(arguments).pull(arguments.source, Path(arguments.destination))
    return 0


def reset(arguments: argparse.Namespace) -> int:
    """Take the guest back to its snapshot."""
    attached(arguments).reset()
    return 0


def down(arguments: argparse.Namespace) -> int:
    """End the guest; what was written in it is lost."""
    attached(arguments).stop()
    return 0


def console(arguments: argparse.Namespace) -> int:
    """Follow what the guest's kernel writes to the console, until interrupted."""
    path = str(attached(arguments).console)
    os.execvp("tail", ["tail", "-n", "+1", "-F", path])


def parse() -> argparse.Namespace:
    """Parse the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--suite", choices=image.SUITES, default=os.environ.get("GOVERNOR_VM_SUITE", "trixie"))
    common.add_argument("--name", default="default", help="which guest, if there are several of one suite")
    parser = argparse.ArgumentParser(prog="python3 -m tests.vm", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    parsers = {}
    for action in (build, up, run, push, pull, reset, down, console):
        described = action.__doc__
        parsers[action] = commands.add_parser(action.__name__, parents=[common], help=described, description=described)
        parsers[action].set_defaults(action=action)
    parsers[build].add_argument("--force", action="store_true", help="also if there is one")
    parsers[run].add_argument("--timeout", type=float, default=3600.0, help="seconds (default: an hour)")
    parsers[run].add_argument("argv", nargs="+", metavar="ARGUMENT", help="after -- if it begins with a dash")
    for action in (push, pull):
        parsers[action].add_argument("source")
        parsers[action].add_argument("destination", help="the path of the copy itself")
    return parser.parse_args()


def main() -> int:
    """Run the command and return its exit code."""
    arguments = parse()
    action: Action = arguments.action
    try:
        return action(arguments)
    except (GuestError, ImageError, QemuError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
