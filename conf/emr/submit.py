"""Fills the placeholders of a request in this folder and sends it to EMR with boto3, or prints it.

    python conf/emr/submit.py conf/emr/cluster.json BUCKET=my-bucket
    python conf/emr/submit.py conf/emr/serverless-job.json BUCKET=my-bucket ACCOUNT=... APPLICATION=... --print

It knows nothing of the package. Credentials and region are found where every AWS tool looks for them.
"""

import argparse
import json
import re
import string
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REQUESTS: Mapping[str, tuple[str, str, str]] = {
    "cluster.json": ("emr", "RunJobFlow", "JobFlowId"),
    "step.json": ("emr", "AddJobFlowSteps", "StepIds"),
    "serverless-application.json": ("emr-serverless", "CreateApplication", "applicationId"),
    "serverless-job.json": ("emr-serverless", "StartJobRun", "jobRunId"),
}
"""Of each file, the service, its operation, and the field of the answer by which one asks for it later."""


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return a text with each ``${NAME}`` replaced.

    Raises
    ------
    ValueError
        If a placeholder has no value, or a value no placeholder.
    """
    wanted = set(string.Template(text).get_identifiers())
    missing, unknown = sorted(wanted - values.keys()), sorted(values.keys() - wanted)
    if missing:
        message = f"give {' '.join(f'{name}=...' for name in missing)}"
        raise ValueError(message)
    if unknown:
        message = f"there is no placeholder {', '.join(unknown)}, only {', '.join(sorted(wanted))}"
        raise ValueError(message)
    return string.Template(text).substitute(values)


def send(name: str, request: Mapping[str, Any]) -> str:
    """Send a request, and return the id that the service gives to what was made.

    Parameters
    ----------
    name : str
        Of its file, one of `REQUESTS`.
    request : mapping
        As the service's own model has it.
    """
    import boto3  # what is only printed needs none

    service, operation, answer = REQUESTS[name]
    client = boto3.client(service)
    method = re.sub(r"(?<!^)([A-Z])", r"_\1", operation).lower()
    found = getattr(client, method)(**request)[answer]
    return found[0] if isinstance(found, list) else str(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill and send one request, and print the id that comes back."""
    parser = argparse.ArgumentParser(description="Fill a request of this folder and send it to EMR.")
    parser.add_argument("request", type=Path, help="one of the .json files beside this script, or a copy of that name")
    parser.add_argument("values", nargs="*", metavar="NAME=VALUE", help="for a placeholder ${NAME} of the file")
    parser.add_argument("--print", action="store_true", help="print the filled file and send nothing")
    given = parser.parse_args(arguments)
    if any("=" not in value for value in given.values):
        parser.error("each value is written as NAME=VALUE")
    try:
        text = filled(given.request.read_text(encoding="utf-8"), dict(value.split("=", 1) for value in given.values))
    except (OSError, ValueError) as error:
        parser.error(f"{given.request}: {error}")
    if given.print:
        print(text, end="")
        return 0
    if given.request.name not in REQUESTS:
        parser.error(f"{given.request.name}: this is no request that can be sent; there are {', '.join(REQUESTS)}")
    print(send(given.request.name, json.loads(text)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
