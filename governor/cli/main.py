"""governorctl: parse the command line, run the one command, end with a documented exit code."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from governor.cli.exits import Exit, verdict
from governor.cli.parser import build_parser
from governor.model.errors import ActuationError, Gone, PolicyError, Unsupported

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (governor.cli.exits); argparse itself ends with 2 on a wrong line."""
    arguments = build_parser().parse_args(argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader (head, less) has seen enough; Python would complain again when it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return code


def _run(arguments: Namespace) -> int:
    """Import the command's module (so that --help need not), run it, and put its failure into words."""
    module, _, function = arguments.handler.partition(":")
    try:
        code: int = getattr(importlib.import_module(f"governor.cli.{module}"), function)(arguments)
    except (Gone, Unsupported, PolicyError, ActuationError) as error:
        from governor.cli.output import complain  # noqa: PLC0415 - only a failure needs it

        ending = verdict(error)
        complain(ending.text, ending.advice)
        return ending.code
    return code


if __name__ == "__main__":
    sys.exit(main())
