"""Completion of the command line in the shell, by argcomplete where it is installed."""

import argparse
import os
from importlib.util import find_spec


def complete(parser: argparse.ArgumentParser) -> None:
    """Print completions and end the process if a shell asks for them; otherwise nothing is even imported."""
    if "_ARGCOMPLETE" not in os.environ or find_spec("argcomplete") is None:
        return
    import argcomplete

    argcomplete.autocomplete(parser)
