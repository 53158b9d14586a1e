"""The legs of the version matrix: which versions go together in an environment."""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Leg:
    """One environment.

    Attributes
    ----------
    name : str
        Of the leg, and of its folder.
    constraints : Path or None
        Names and versions of all that is installed; None for the environment that this runs in.
    extras : str
        Of the package. Without ``spark``, pyspark is installed beside it as a platform has it: whatever else there is.
    """

    name: str
    constraints: Path | None
    extras: str = "spark,h5ad"


LEGS = (
    Leg("spark-3.5-minimum", HERE / "spark-3.5-minimum.txt"),
    Leg("spark-3.5", HERE / "spark-3.5.txt"),
    Leg("spark-3.5-packed", HERE / "spark-3.5-packed.txt", extras="h5ad"),
    Leg("spark-4.0", HERE / "spark-4.0.txt"),
    Leg("spark-4.1", HERE / "spark-4.1.txt"),
    Leg("spark-4.3-numpy-1", HERE / "spark-4.3-numpy-1.txt"),
    Leg("spark-4.3", None),
)
"""The third has what ``make package`` packs, beside a platform's Spark 3.5, which pip would not install with numpy 2.
The first has the least versions that pyproject.toml allows, the last those of constraints.txt."""
