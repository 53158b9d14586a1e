"""The second pass: from the digests' brackets to exact medians, in as many rounds as they need, most often one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession

from median_spark.digests import GroupWork, rank_error
from median_spark.errors import EngineError, counted
from median_spark.exact import (
    FINDINGS_SCHEMA,
    OUTCOME_SCHEMA,
    Queries,
    Query,
    brackets,
    collect_sweep,
    median_ranks,
    merge_findings,
)
from median_spark.expression import SweepPlan
from median_spark.progress import ProgressReporter
from median_spark.results import ExactMedian, GeneDigests, Stopwatch
from median_spark.spark.engine.tasks import collect_sound, merge_by_gene, merge_partitions, run_tasks
from median_spark.spark.engine.watch import watched_tasks

_MOST_ROUNDS = 24
"""Every round cuts a bracket into 256, of the 2^63 positive numbers that float64 has, or widens it once: this is never
reached unless the table changes under way."""


@dataclass(frozen=True)
class Round:
    """What one round yielded.

    Attributes
    ----------
    values : dict of str to dict of int to float
        Values of ranks, by gene.
    errors : dict of str to float
        Rank errors of the digests' medians, by gene.
    left : list of Query
        Queries for the next round.
    """

    values: dict[str, dict[int, float]]
    errors: dict[str, float]
    left: list[Query]


def exact_medians(
    spark: SparkSession,
    plan: SweepPlan,
    merged: GeneDigests,
    plan_for: Callable[[list[str]], SweepPlan],
    progress: ProgressReporter,
    watch: Stopwatch,
    work: GroupWork | None = None,
) -> dict[str, ExactMedian]:
    """Return the exact median of every detected gene, and the rank error of its digest's.

    Genes of groups that were digested are among them, see `median_spark.digests.key_of`.

    Parameters
    ----------
    plan
        Sweeps over all genes, for the first round.
    merged
        Digests of all values.
    plan_for
        Cuts the same parts into sweeps over some genes only, for later rounds.
    work
        Treatment of groups when the values were digested.

    Raises
    ------
    TableError
        If a part cannot be read.
    """

    def refine_once(number: int, queries: Queries) -> Round:
        narrowed = plan_for(sorted(set(queries.genes.tolist()))) if number else plan
        with watched_tasks(spark, progress, narrowed.sweeps + merge_partitions(narrowed.sweeps)):
            done = _refine_once(spark, narrowed, queries, merged, number + 1, work)
        watch.lap("refine", tasks=narrowed.sweeps, rounds=1, values_in=int(narrowed.rows.sum()))
        return done

    return exact_in_rounds(merged, refine_once, progress)


def exact_in_rounds(
    merged: GeneDigests, refine_once: Callable[[int, Queries], Round], progress: ProgressReporter
) -> dict[str, ExactMedian]:
    """Go round until every gene's exact median is known.

    Parameters
    ----------
    refine_once
        Looks at all values for what queries seek; called with the number of the round, from 0, and the queries. In the
        first round it also finds the rank errors of the digests' medians.

    Raises
    ------
    EngineError
        If there is no end to it.
    """
    digests = merged.digests
    exact = {
        gene: ExactMedian(float(np.median(digest.means)), 0.0)
        for gene, digest in digests.items()
        if len(digest.means) == digest.n
    }
    queries = brackets(digests, merged.compression)
    values: dict[str, dict[int, float]] = {}
    errors: dict[str, float] = {}
    for number in range(_MOST_ROUNDS):
        if not len(queries):
            break
        with progress.working(f"refining {counted(len(queries), 'bracket')}, round {number + 1}"):
            done = refine_once(number, queries)
        for gene, ranks in done.values.items():
            values.setdefault(gene, {}).update(ranks)
        if not number:
            errors = done.errors
        queries = Queries(done.left)
    for gene, ranks in values.items():
        wanted = median_ranks(digests[gene].n)
        if set(ranks) == set(wanted):
            exact[gene] = ExactMedian(float(np.mean([ranks[rank] for rank in wanted])), errors[gene])
    if exact.keys() != digests.keys():
        message = f"{counted(len(digests) - len(exact), 'gene')} have no exact median after {_MOST_ROUNDS} rounds"
        raise EngineError(message)
    return exact


def _refine_once(
    spark: SparkSession, plan: SweepPlan, queries: Queries, merged: GeneDigests, number: int, work: GroupWork | None
) -> Round:
    """Run one Spark job: collect in every task, shuffle by gene, resolve."""

    def find(number: int) -> Iterator[pa.RecordBatch]:
        yield from collect_sweep(plan, number, queries, work)

    def merge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return merge_findings(batches, queries)

    findings = run_tasks(spark, plan.sweeps, FINDINGS_SCHEMA, find)
    frame = merge_by_gene(findings, merge_partitions(plan.sweeps), ("gene", "query"), merge, OUTCOME_SCHEMA)
    values: dict[str, dict[int, float]] = {}
    errors: dict[str, float] = {}
    left = []
    description = f"refine {counted(len(queries), 'bracket')}, round {number}"
    for row in collect_sound(frame, OUTCOME_SCHEMA, "refining", description).to_pylist():
        gene, digest = row["gene"], merged.digests[row["gene"]]
        errors[gene] = float(rank_error(row["estimate_below"], row["estimate_up_to"], digest.n))
        if row["resolved"]:
            values.setdefault(gene, {}).update(dict.fromkeys((row["first_rank"], row["last_rank"]), row["low"]))
        else:
            ranks = (row["first_rank"], row["last_rank"])
            left.append(Query(gene, *ranks, row["low"], row["high"], digest.min, digest.max))
    return Round(values, errors, left)
