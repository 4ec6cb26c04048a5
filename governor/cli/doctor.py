"""doctor: what this host offers, and what the lack of each thing turns off.

The daemon knows best and is asked first. Without it the host is asked, as far as that needs no privileges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.cli import output
from governor.cli.client import ask
from governor.cli.exits import Exit, verdict
from governor.kernel.features import probe
from governor.model.errors import ActuationError, Unsupported
from governor.model.feature import Feature

if TYPE_CHECKING:
    from argparse import Namespace


def doctor(arguments: Namespace) -> int:
    """Print each feature; 0 if all are there, 1 if one is missing, 5 if the daemon could not be asked."""
    try:
        rows = ask(lambda client: client.manager("Doctor"))[0]
        features, code, complaint = [Feature(*row) for row in rows], Exit.OK, ""
    except (Unsupported, ActuationError) as error:
        features, code, complaint = list(probe()), Exit.NOT_RUNNING, verdict(error).text
    if code is Exit.OK and not all(feature.available for feature in features):
        code = Exit.FAILURE
    _print(arguments, features, complaint)
    return code


def _print(arguments: Namespace, features: list[Feature], complaint: str) -> None:
    if arguments.json:
        rows = [{"feature": f.name, "available": f.available, "explanation": f.meaning} for f in features]
        output.print_json({"daemon": not complaint, "features": rows})
    else:
        output.print_table(("FEATURE", "FOUND", "MEANING"), [_row(feature) for feature in features])
    if complaint:
        output.complain(f"the daemon did not answer ({complaint}); these are only the probes that need no daemon")


def _row(feature: Feature) -> tuple[str, str, str]:
    found = output.styled("yes", "green") if feature.available else output.styled("no", "red")
    return output.name(feature.name), found, output.safe(feature.meaning)
