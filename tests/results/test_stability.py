"""The table of stability, and what it says of all genes."""

import math

import numpy as np
import pyarrow as pa
import pytest

from median_spark.digests import FRACTIONS, Stability
from median_spark.results import STABILITY_SCHEMA, stability_figures, stability_table

NAN, INF = math.nan, math.inf


def medians(n_cells):
    """Return what is used of a median table: genes have the medians 1, 2, …, those in no cell none."""
    return pa.table(
        {
            "gene": [f"G{number}" for number in range(len(n_cells))],
            "n_cells": n_cells,
            "median": pa.array([float(number + 1) if n else None for number, n in enumerate(n_cells)], pa.float64()),
        }
    )


def packed(halves, left_out, ratios, distances):
    found = Stability(np.array(halves), np.array(left_out), np.array(ratios), np.array(distances))
    return found.pack()


def table_of(n_cells, halves, distances, buckets=16):
    genes = len(n_cells)
    figures = packed(halves, [0.1] * genes, [[1.0] * 4] * genes, distances)
    return stability_table(medians(n_cells), {f"G{number}": each for number, each in enumerate(figures)}, buckets)


class TestTable:
    def test_has_the_detected_genes_and_medians_of_shares(self):
        figures = packed(
            [0.02, INF],
            [0.5, 0.01],
            [[NAN, 1.5, 0.5, 1.0], [NAN, NAN, NAN, 2.0]],
            [[NAN, 0.5, 1.0, 0.0], [NAN, INF, INF, 1.0]],
        )
        table = stability_table(medians([5, 0, 7]), {"G0": figures[0], "G2": figures[1]}, 8)
        assert table.schema == STABILITY_SCHEMA
        assert table.to_pylist() == [
            {
                "gene": "G0", "n_cells": 5, "median": 1.0, "change_halves": 0.02, "change_left_out": 0.5,
                "median_1_16": None, "median_1_8": 1.5, "median_1_4": 0.5, "median_1_2": 1.0,
                "change_1_16": None, "change_1_8": 0.5, "change_1_4": 1.0, "change_1_2": 0.0,
            },
            {
                "gene": "G2", "n_cells": 7, "median": 3.0, "change_halves": None, "change_left_out": 0.01,
                "median_1_16": None, "median_1_8": None, "median_1_4": None, "median_1_2": 6.0,
                "change_1_16": None, "change_1_8": None, "change_1_4": None, "change_1_2": 1.0,
            },
        ]  # fmt: skip

    def test_figures_are_packed_and_unpacked(self):
        rng = np.random.default_rng(0)
        found = Stability(rng.random(3), rng.random(3), rng.random((3, 4)), rng.random((3, 4)))
        again = Stability.unpack(found.pack())
        for name in ("halves", "left_out", "ratios", "distances"):
            np.testing.assert_array_equal(getattr(again, name), getattr(found, name))


class TestFigures:
    def test_are_medians_over_genes_of_many_cells(self):
        table = table_of(
            [101, 200, 300, 100],
            [0.02, 0.04, 0.08, 9.0],
            [[0.4, 0.3, 0.2, 0.1], [0.8, 0.6, 0.4, 0.2], [INF, 1.2, 0.8, 0.4], [9.0] * 4],
        )
        found = stability_figures(table)
        assert (found.genes, found.least_cells, found.buckets) == (3, 100, 16)
        assert found.if_doubled == pytest.approx(0.04 / math.sqrt(2))
        assert found.left_out == 0.1
        assert [share for share, _, _ in found.curve] == [1 / fraction for fraction in FRACTIONS]
        assert [half for _, half, _ in found.curve] == [0.8, 0.6, 0.4, 0.2]
        assert [most for _, _, most in found.curve] == [INF, 1.2, 0.8, 0.4]

    def test_are_of_all_genes_where_none_has_many_cells(self):
        found = stability_figures(table_of([1, 100], [0.02, 0.04], [[NAN, NAN, 0.2, 0.1]] * 2, 4))
        assert (found.genes, found.least_cells, found.buckets) == (2, 0, 4)
        assert [share for share, _, _ in found.curve] == [0.25, 0.5]

    def test_are_none_of_fewer_than_four_sources(self):
        assert stability_figures(table_of([200], [0.1], [[NAN, NAN, NAN, 0.1]], 2)) is None
        assert stability_figures(table_of([200], [INF], [[NAN] * 4], 1)) is None

    def test_say_so_if_most_genes_are_in_few_sources(self):
        found = stability_figures(table_of([200] * 3, [INF, INF, 0.1], [[INF] * 4] * 3))
        assert found.if_doubled == INF
