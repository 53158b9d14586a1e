"""The rows of a CSV file as text, for the gene table and the gene map. Knows nothing of what they mean."""

import io

import pandas as pd
import pyarrow.fs

from median_spark import storage
from median_spark.errors import MedianSparkError


def read_content(location: str, what: str, refusal: type[MedianSparkError]) -> bytes:
    """Return a file's bytes.

    Parameters
    ----------
    location : str
        Canonical path or URI.
    what : str
        What the file is to be, for the message.
    refusal : type
        What is raised if it cannot be read.
    """
    try:
        return storage.read_bytes(location)
    except (OSError, pyarrow.ArrowException) as error:
        message = f"{location}: the {what} cannot be read ({error})"
        raise refusal(message) from error


def read_rows(location: str, what: str, refusal: type[MedianSparkError]) -> pd.DataFrame:
    """Return a CSV file with every field as text, also fields such as NA and 007.

    Parameters
    ----------
    location : str
        Canonical path or URI.
    what : str
        What the file is to be, for the message.
    refusal : type
        What is raised if it cannot be read.
    """
    content = read_content(location, what, refusal)
    try:
        return pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False, index_col=False)
    except ValueError as error:
        message = f"{location}: the {what} cannot be read as CSV ({error})"
        raise refusal(message) from error
