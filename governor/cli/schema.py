"""schema: the JSON Schema of policy files, so that an editor completes and checks while one types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.cli import output
from governor.cli.exits import Exit
from governor.policy.keys import HOST, POLICY
from governor.policy.schema import schema as schema_of

if TYPE_CHECKING:
    from argparse import Namespace


def schema(arguments: Namespace) -> int:
    """Print the schema of a policy, or of governor.toml."""
    output.print_json(schema_of(HOST if arguments.file == "governor" else POLICY))
    return Exit.OK
