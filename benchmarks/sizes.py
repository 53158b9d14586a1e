"""How large the benchmarks are."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """The sizes of one run of the benchmarks.

    Attributes
    ----------
    name : str
    looms, distinct : int
        Looms that are converted, and how many of them are not copies.
    loom_genes, loom_cells : int
        Size of each loom.
    tables : tuple of int
        Rows of each expression table, ascending; all are made of the same sources.
    source_rows : int
        Rows of each of those sources.
    repeated_rows : int
        Rows, about, of the table that is cut into bundles: it has the largest table's sources several times over.
    slow_rows, other_rows : int
        Up to these sizes of a table, peers are measured that take many minutes on a larger one: Spark's own functions,
        and all others but the one that `targets` compares with at any size.
    repeats : int
        Repeats of each way.
    each_minutes, patience_minutes, budget_minutes : float
        See `measure.Limits`.
    """

    name: str
    looms: int
    distinct: int
    loom_genes: int
    loom_cells: int
    tables: tuple[int, ...]
    source_rows: int
    repeated_rows: int
    slow_rows: int
    other_rows: int
    repeats: int
    each_minutes: float
    patience_minutes: float
    budget_minutes: float

    @property
    def copies(self) -> int:
        """Times that the largest table's sources are in the table that is cut into bundles."""
        return max(1, round(self.repeated_rows / max(self.tables)))

    @property
    def bytes(self) -> int:
        """Bytes on the disk at most: the looms, their table several times over, and the tables."""
        entries = self.looms * self.loom_genes * self.loom_cells * 0.06
        return int(entries * 5 + 4 * entries * 5 + max(self.tables) * 5)


SIZES = {
    each.name: each
    for each in (
        Sizes(
            name="tiny",
            looms=2,
            distinct=1,
            loom_genes=2_000,
            loom_cells=1_000,
            tables=(1_000_000, 2_000_000),
            source_rows=1_000_000,
            repeated_rows=8_000_000,
            slow_rows=2_000_000,
            other_rows=2_000_000,
            repeats=2,
            each_minutes=1,
            patience_minutes=0.2,
            budget_minutes=5,
        ),
        Sizes(
            name="quick",
            looms=4,
            distinct=2,
            loom_genes=36_601,
            loom_cells=3_000,
            tables=(13_000_000, 50_000_000),
            source_rows=13_000_000,
            repeated_rows=1_200_000_000,
            slow_rows=50_000_000,
            other_rows=50_000_000,
            repeats=3,
            each_minutes=3,
            patience_minutes=0.3,
            budget_minutes=15,
        ),
        Sizes(
            name="full",
            looms=24,
            distinct=4,
            loom_genes=36_601,
            loom_cells=10_000,
            tables=(50_000_000, 200_000_000, 500_000_000, 1_000_000_000),
            source_rows=13_000_000,
            repeated_rows=7_000_000_000,
            slow_rows=200_000_000,
            other_rows=500_000_000,
            repeats=5,
            each_minutes=15,
            patience_minutes=5,
            budget_minutes=600,
        ),
    )
}


def short(rows: int) -> str:
    """Return a number of rows as people say it: 50M."""
    return f"{rows / 1e6:,.0f}M"
