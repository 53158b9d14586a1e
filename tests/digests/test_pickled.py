"""Pickles of crick digests: read as crick would, and refused where crick would take anything."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from crick import TDigest
from cricks import from_crick, to_cricks
from hypothesis import given
from hypothesis import strategies as st

from median_spark.digests.pickled import first_compression, unpickle_digests
from median_spark.errors import InputError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
CENTROID = np.dtype([("mean", "<f8"), ("weight", "<f8")])


def digest_of(values, compression=100.0):
    made = TDigest(compression)
    made.update(np.asarray(values, dtype=np.float64))
    return made


class Stateless:
    """Pickles as a crick digest without a state, as an empty one may."""

    def __reduce__(self):
        return TDigest, (100.0,)


class Forged:
    """Pickles as a crick digest of any compression and state."""

    def __init__(self, compression, *state):
        self.reduced = TDigest, (compression,), state

    def __reduce__(self):
        return self.reduced


def centroids(means, weights=None):
    made = np.empty(len(means), dtype=CENTROID)
    made["mean"], made["weight"] = means, 1.0 if weights is None else weights
    return made


def refusal(content, load=unpickle_digests):
    with pytest.raises(InputError) as refused:
        load(content if isinstance(content, bytes) else pickle.dumps(content), "/notebook/a.pickle")
    return str(refused.value)


@given(
    st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=2_000),
    st.sampled_from([20.0, 100.0, 123.4, 1000.0]),
    st.sampled_from(PROTOCOLS),
)
def test_are_what_crick_restores(values, compression, protocol):
    content = pickle.dumps({"ENSG1": digest_of(values, compression), "ENSG2": TDigest(compression)}, protocol)
    theirs = pickle.loads(content)
    ours = unpickle_digests(content, "x")
    assert list(ours.digests) == ["ENSG1"]
    assert ours.undetected == ["ENSG2"]
    assert ours.compressions == {"ENSG1": compression}
    found, expected = ours.digests["ENSG1"], from_crick(theirs["ENSG1"])
    assert (found.n, found.min, found.max) == (len(values), min(values), max(values))
    assert np.array_equal(found.means, expected.means)
    assert np.array_equal(found.weights, expected.weights)
    assert to_cricks([found], compression)[0].quantile(0.5) == pytest.approx(theirs["ENSG1"].quantile(0.5), rel=1e-12)


def test_of_numpy_1_and_with_numpy_strings_for_genes():
    content = pickle.dumps({np.str_("ENSG1"): digest_of([1.0, 2.0])}, 2).replace(b"cnumpy._core.", b"cnumpy.core.")
    found = unpickle_digests(content, "x")
    assert list(found.digests) == ["ENSG1"]
    assert type(next(iter(found.digests))) is str


def test_empty_ones_may_come_without_a_state():
    shared = Stateless()
    for protocol in PROTOCOLS:
        content = pickle.dumps({"A": shared, "B": digest_of([1.0]), "C": shared}, protocol)
        found = unpickle_digests(content, "x")
        assert (list(found.digests), found.undetected) == (["B"], ["A", "C"])
        assert first_compression(content, "x") == 100.0


def test_of_two_processors_byte_orders():
    made = centroids([1.0, 2.0]).astype([("mean", ">f8"), ("weight", ">f8")])
    found = unpickle_digests(pickle.dumps({"A": Forged(100.0, made, 2.0, 1.0, 2.0)}), "x").digests["A"]
    assert found.means.tolist() == [1.0, 2.0]
    assert found.means.dtype == np.dtype("=f8")


def test_means_that_drifted_by_their_last_bits_are_put_in_order():
    drifted = np.array([1.0, np.nextafter(2.0, 3.0), 2.0, 3.0])
    found = unpickle_digests(pickle.dumps({"A": Forged(100.0, centroids(drifted), 4.0, 1.0, 3.0)}), "x").digests["A"]
    assert np.all(np.diff(found.means) >= 0)
    assert np.allclose(found.means, drifted, rtol=1e-15)


MILLION = np.linspace(1, 2, 1_000_000)


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        (Forged(100.0, centroids(MILLION), 1e6, 1.0, 2.0), "has at most 200 centroids, not 1000000"),
        (Forged(100.0, centroids(MILLION[:201]), 201.0, 1.0, 2.0), "has at most 200 centroids, not 201"),
        (Forged(5000.0, centroids([1.0]), 1.0, 1.0, 1.0), "compression must lie between 20 and 1000"),
        (Forged(float("nan"), centroids([1.0]), 1.0, 1.0, 1.0), "compression must lie between"),
        (Forged("100", centroids([1.0]), 1.0, 1.0, 1.0), "there is a str where a number must be"),
        (Forged(100.0, centroids([2.0, 1.0]), 2.0, 1.0, 2.0), "means do not ascend"),
        (Forged(100.0, centroids([1.0, np.nan]), 2.0, 1.0, 2.0), "means do not ascend"),
        (Forged(100.0, centroids([1.0, np.inf]), 2.0, 1.0, np.inf), "is damaged"),
        (Forged(100.0, centroids([1.0, 5.0]), 2.0, 1.0, 2.0), "means do not ascend between its min and max"),
        (Forged(100.0, centroids([1.0, 2.0], [1.0, 0.0]), 1.0, 1.0, 2.0), "weights be above 0"),
        (Forged(100.0, centroids([1.0, 2.0], [2.0, -1.0]), 1.0, 1.0, 2.0), "weights be above 0"),
        (Forged(100.0, centroids([1.0, 2.0], [0.5, 1.5]), 2.0, 1.0, 2.0), "fractions of values"),
        (Forged(100.0, centroids([1.0, 2.0]), 3.0, 1.0, 2.0), "add up to n"),
        (Forged(100.0, centroids([]), 3.0, 1.0, 2.0), "is damaged"),
        (Forged(100.0, centroids([1.0]), 0.0, 1.0, 2.0), "add up to n"),
        (Forged(100.0, centroids([1.0]), float("inf"), 1.0, 1.0), "fractions of values"),
        (Forged(100.0, np.zeros((2, 2), dtype=CENTROID), 2.0, 1.0, 1.0), "does not have one axis"),
        (Forged(100.0, centroids([1.0, 2.0, 1.5]), 3.0, np.nan, 2.0), "means do not ascend"),
        (Forged(100.0, centroids([1.0]), np.nan, 1.0, 1.0), "fractions of values"),
        (
            Forged(100.0, centroids([1.0], [2.0**60]), 2.0**60, 1.0, 1.0),
            "counts more than 9,007,199,254,740,992 values",
        ),
        (Forged(100.0, centroids([1.0]), -1.0, 1.0, 1.0), "add up to n"),
        (Forged(100.0, centroids([1.0]), 10**400, 1.0, 1.0), "is damaged (OverflowError"),
        (Forged(10**400, centroids([1.0]), 1.0, 1.0, 1.0), "is damaged (OverflowError"),
        (Forged(100.0, centroids([1.0]), 1.0, True, 1.0), "there is a bool where a number must be"),
        (Forged(100.0, centroids([1.0]), 1.0, [1.0], 1.0), "there is a list where a number must be"),
        (Forged(100.0, centroids([1.0])[["mean"]], 1.0, 1.0, 1.0), "must be a column of mean and weight"),
        (Forged(100.0, np.zeros(2), 2.0, 1.0, 1.0), "must be a column of mean and weight"),
        (Forged(100.0, [1.0, 2.0], 2.0, 1.0, 1.0), "must be a column of mean and weight"),
        (Forged(100.0, centroids([1.0]).astype([("mean", "f4"), ("weight", "f8")]), 1.0, 1.0, 1.0), "mean and weight"),
        (Forged(100.0, centroids([1.0]), 1.0, 1.0), "is damaged"),
    ],
)
def test_a_digest_that_crick_cannot_have_made_is_refused_by_gene(forged, said):
    message = refusal({"ENSG1": digest_of([1.0, 2.0]), "ENSG2": forged})
    assert message.startswith("/notebook/a.pickle: ")
    assert said in message
    assert "the digest of ENSG2" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([digest_of([1.0])], "holds a list; it must be a dict of gene to digest"),
        ({"A": digest_of([1.0]), "B": 3.0}, "1 entry is not, such as 'B' (str) with a float"),
        ({7: digest_of([1.0])}, "1 entry is not, such as 7 (int) with a digest"),
        ({"A" * 10**6: digest_of([1.0])}, "such as a text of 1,000,000 characters with a digest"),
        ({"\udcff": digest_of([1.0])}, "such as a text that is not Unicode with a digest"),
        (TDigest, "holds crick.tdigest.TDigest; it must be a dict of gene to digest"),
        ({"A": print}, "holds builtins.print, which a dict of gene to digest does not need"),
    ],
)
def test_what_is_no_dict_of_digests_is_refused(content, said):
    assert said in refusal(content)


def test_centroids_that_digests_share_are_refused():
    """A thousand digests of one array take as many times the memory of the pickle."""
    shared = centroids(np.linspace(1, 2, 200))
    forged = {f"ENSG{number}": Forged(100.0, shared, 200.0, 1.0, 2.0) for number in range(1_000)}
    assert "digests share their centroids" in refusal(forged)


def test_the_first_compression_is_told_by_the_beginning():
    digests = {f"ENSG{number}": digest_of(np.arange(1, 5_000), 1000.0) for number in range(20)}
    for protocol in PROTOCOLS:
        content = pickle.dumps(digests, protocol)
        assert len(content) > 2**18
        assert first_compression(content[: 2**18], "x") == 1000.0
    assert first_compression(pickle.dumps({}), "x") is None
    assert "is cut off" in refusal(content[:100], first_compression)


@pytest.mark.parametrize("counts", [(201, 100_000), pytest.param((50_000_000,), marks=pytest.mark.slow)])
def test_a_forged_number_of_centroids_does_not_end_the_process(counts):
    """crick would copy them all into its 200; in a process of its own, for that is what would end."""
    script = """
import pickle, sys
import numpy as np
from crick import TDigest
from median_spark.digests.pickled import unpickle_digests
from median_spark.errors import InputError
class Forged:
    def __reduce__(self):
        made = np.ones(count, dtype=[("mean", "<f8"), ("weight", "<f8")])
        return TDigest, (100.0,), (made, float(count), 1.0, 1.0)
for count in map(int, sys.argv[1:]):
    try:
        unpickle_digests(pickle.dumps({"A": Forged()}), "forged")
    except InputError as refused:
        print(refused)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, counts)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout.splitlines()
    assert len(said) == len(counts)
    refused = "forged: the digest of A is damaged: a digest of compression 100 has at most 200"
    assert all(line.startswith(refused) for line in said)


@given(
    st.lists(st.lists(st.floats(1e-6, 1e6), max_size=300), min_size=1, max_size=8),
    st.lists(st.sampled_from([20.0, 100.0, 1000.0]), min_size=8, max_size=8),
    st.data(),
)
def test_of_several_genes_a_damaged_one_is_named_and_sound_ones_are_kept_apart(values, compressions, data):
    made = {
        f"ENSG{number}": digest_of(own, compression)
        for number, (own, compression) in enumerate(zip(values, compressions, strict=False))
    }
    found = unpickle_digests(pickle.dumps(made), "x")
    assert found.undetected == [gene for gene, digest in made.items() if not digest.size()]
    assert list(found.digests) == [gene for gene, digest in made.items() if digest.size()]
    for gene, digest in found.digests.items():
        expected = from_crick(made[gene])
        assert (digest.n, digest.min, digest.max) == (expected.n, expected.min, expected.max)
        assert digest.means.tolist() == expected.means.tolist()
        assert digest.weights.tolist() == expected.weights.tolist()
    bad = data.draw(st.sampled_from(sorted(made)))
    forged = data.draw(
        st.sampled_from(
            [
                Forged(100.0, centroids([2.0, 1.0]), 2.0, 1.0, 2.0),
                Forged(100.0, centroids([1.0, 2.0], [0.5, 1.5]), 2.0, 1.0, 2.0),
                Forged(100.0, centroids([1.0]), 2.0, 1.0, 2.0),
            ]
        )
    )
    assert f"the digest of {bad} " in refusal(pickle.dumps({**made, bad: forged}))
