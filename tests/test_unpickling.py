"""Reading pickles without running them: what is read equals what was pickled, and nothing hostile does harm."""

import pickle
import pickletools
import struct
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
from crick import TDigest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from median_spark.digests.pickled import first_compression, unpickle_digests
from median_spark.errors import InputError
from median_spark.unpickling import load_plain

PROTOCOLS = (2, 3, 4, 5)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
)
keys = st.text() | st.integers() | st.binary() | st.none()
values = st.recursive(
    scalars | st.binary().map(bytearray) | st.sets(keys) | st.frozensets(keys),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=30,
)
dtypes = (
    np_st.boolean_dtypes()
    | np_st.integer_dtypes()
    | np_st.floating_dtypes(sizes=(16, 32, 64))
    | np_st.complex_number_dtypes(sizes=(64, 128))
    | np_st.unicode_string_dtypes(min_len=1)
    | np_st.byte_string_dtypes(min_len=1)
)


def same(one, other):
    """Say whether two values are of the same types and equal, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return one == other


def with_numpy_1_names(content):
    """Return a pickle of protocol 2 as numpy 1 would have written it."""
    return content.replace(b"cnumpy._core.", b"cnumpy.core.")


def refusal(content, load=load_plain):
    """Return what is said when a pickle is refused."""
    with pytest.raises(InputError) as refused:
        load(content, "/some/file.pickle")
    return str(refused.value)


def said_of(content, load):
    """Return what is said when a pickle is refused, or None if it is read."""
    try:
        load(content, "x")
    except InputError as refused:
        return str(refused)
    return None


class TestPlainValues:
    @given(values, st.sampled_from(PROTOCOLS))
    def test_are_read_as_they_were_pickled(self, value, protocol):
        assert same(load_plain(pickle.dumps(value, protocol), "x"), value)

    @given(values)
    def test_are_read_from_optimised_pickles_and_from_those_of_the_python_pickler(self, value):
        assert same(load_plain(pickletools.optimize(pickle.dumps(value)), "x"), value)
        written = pickle._dumps(value, 4)
        assert same(load_plain(written, "x"), value)

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_large_ones(self, protocol):
        value = {
            "text": "ä" * 70_000,
            "bytes": b"\xff" * 70_000,
            "list": list(range(5_000)),
            "dict": {str(number): float(number) for number in range(5_000)},
            "set": {str(number) for number in range(5_000)},
            "number": 2**5_000,
        }
        assert same(load_plain(pickle.dumps(value, protocol), "x"), value)

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_an_ordered_dict_is_read_as_a_dict(self, protocol):
        assert same(load_plain(pickle.dumps(OrderedDict(b=1, a=2), protocol), "x"), {"b": 1, "a": 2})

    def test_that_hold_themselves(self):
        endless = [1]
        endless.append(endless)
        found = load_plain(pickle.dumps(endless), "x")
        assert found[1] is found

    def test_one_object_in_two_places_stays_one(self):
        shared = ["a"]
        found = load_plain(pickle.dumps([shared, shared]), "x")
        assert found[0] is found[1]


class TestNumpy:
    @given(
        st.sampled_from(PROTOCOLS),
        dtypes.flatmap(lambda dtype: np_st.arrays(dtype, np_st.array_shapes(min_dims=0, min_side=0))),
    )
    def test_arrays(self, protocol, array):
        found = load_plain(pickle.dumps(array, protocol), "x")
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert found.tobytes() == array.tobytes()
        assert not found.flags.writeable

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_arrays_however_they_lie_in_memory(self, protocol):
        plane = np.arange(12.0).reshape(3, 4)
        for array in (np.asfortranarray(plane), plane.T, plane[:, ::2], plane[::-1], plane.astype(">f8")):
            assert np.array_equal(load_plain(pickle.dumps(array, protocol), "x"), array)

    @given(st.sampled_from(PROTOCOLS), dtypes.flatmap(np_st.from_dtype))
    def test_scalars(self, protocol, scalar):
        found = load_plain(pickle.dumps(scalar, protocol), "x")
        assert type(found) is type(scalar)
        assert found.tobytes() == scalar.tobytes()

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_a_dict_of_numpy_strings_and_numbers(self, protocol):
        medians = {np.str_("ENSG1"): np.float64(0.1), np.str_(""): np.int64(3)}
        assert same(load_plain(pickle.dumps(medians, protocol), "x"), medians)

    @pytest.mark.parametrize("dtype", ["f4", ">i2", "U3", [("mean", "<f8"), ("weight", ">i4")]])
    def test_dtypes(self, dtype):
        found = load_plain(pickle.dumps(np.dtype(dtype)), "x")
        assert found == np.dtype(dtype)

    def test_records(self):
        table = np.array([(1.5, 2), (2.5, 3)], dtype=[("mean", "<f8"), ("weight", "<i4")])
        found = load_plain(pickle.dumps(table), "x")
        assert found.dtype == table.dtype
        assert np.array_equal(found, table)

    def test_names_of_numpy_1(self):
        for value in (np.arange(3), np.float64(2), np.array(["a", "bc"])):
            content = with_numpy_1_names(pickle.dumps(value, 2))
            assert b"numpy._core" not in content
            assert np.array_equal(load_plain(content, "x"), value)


class Hostile:
    """Pickles as a call of something."""

    def __init__(self, called, *arguments):
        self.reduced = called, arguments

    def __reduce__(self):
        return self.reduced


class TestHostile:
    def test_nothing_is_run_and_it_is_refused_by_name(self, tmp_path):
        made = tmp_path / "made"
        for protocol in PROTOCOLS:
            content = pickle.dumps({"a": Hostile(exec, f"open({str(made)!r}, 'w')")}, protocol)
            assert "this pickle holds" in refusal(content)
            assert "exec, which no pickle of plain values has" in refusal(content)
        assert not made.exists()

    @pytest.mark.parametrize(
        ("content", "named"),
        [
            (b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.", "os.system"),
            (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", "os.system"),
            (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
            (b"\x80\x02(X\x04\x00\x00\x00trueios\nsystem\n.", "the instruction INST of protocol 0"),
            (b"\x80\x02(cos\nsystem\no.", "os.system"),
            (b"\x80\x02]\x81.", "the instruction NEWOBJ"),
            (b"\x80\x02\x82\x01.", "the instruction EXT1"),
            (b"\x80\x02]Q.", "the instruction BINPERSID"),
            (b"\x80\x05\x97.", "the instruction NEXT_BUFFER"),
            (pickle.dumps(Hostile(getattr, "a", "b")), "getattr"),
            (pickle.dumps(np.ndarray), "numpy.ndarray"),
            (pickle.dumps([np.ndarray]), "numpy.ndarray"),
            (pickle.dumps(np.array([None, "x"], dtype=object)), "an array of Python objects"),
            (pickle.dumps(np.zeros(2, dtype=[("a", "f8", (2,))])), "dtype"),
            (pickle.dumps({(1, 2): 3}), "a tuple as a key"),
            (pickle.dumps(TDigest()), "crick.tdigest.TDigest"),
            (pickle.dumps({"a": 1}, 0), "the instruction DICT of protocol 0 (2 to 5 can be read)"),
        ],
    )
    def test_what_no_plain_value_needs_is_named(self, content, named):
        said = refusal(content)
        assert said.startswith("/some/file.pickle: this pickle holds ")
        assert named in said

    @given(values, st.data())
    def test_a_pickle_that_is_cut_off_is_refused(self, value, data):
        content = pickle.dumps(value)
        kept = data.draw(st.integers(0, len(content) - 1))
        assert "is cut off" in refusal(content[:kept])

    @given(st.binary(max_size=200), st.data())
    def test_anything_at_all_is_a_value_or_a_refusal(self, noise, data):
        content = bytearray(
            pickle.dumps({"a": [np.arange(3.0), "b", {1}], "c": TDigest()}, data.draw(st.integers(2, 5)))
        )
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + len(noise)] = noise
        for load in (load_plain, unpickle_digests, first_compression):
            assert (said_of(bytes(content), load) or "x: ").startswith("x: ")

    @pytest.mark.parametrize("shape", [(2**40,), (-1,), (3, -1), (2**62, 2**62), (0, 2**63), ("a",), (1,) * 100, (2,)])
    @pytest.mark.parametrize("protocol", [2, 5])
    def test_a_forged_shape(self, shape, protocol):
        array = np.arange(3.0)
        call, arguments, *state = array.__reduce_ex__(protocol)
        if protocol == 5:
            dtype = array.dtype
            forged = Hostile(call, array.tobytes(), dtype, shape, "C")
        else:
            forged = Forged(call, arguments, (1, shape, *state[0][2:]))
        assert "is damaged" in refusal(pickle.dumps(forged, protocol))

    @pytest.mark.parametrize("size", [0, 8, 23, 25])
    def test_a_buffer_of_another_size(self, size):
        call, arguments, state = np.arange(3.0).__reduce__()
        forged = Forged(call, arguments, (*state[:-1], bytes(size)))
        assert f"an array of (3) float64 has 24 bytes, not {size}" in refusal(pickle.dumps(forged))

    def test_dtypes_of_no_size_make_no_array(self):
        call, arguments, _ = np.arange(3.0).__reduce__()
        forged = Forged(call, arguments, (1, (2**40,), np.dtype("V0"), False, b""))
        assert "|V0 has 0 bytes" in refusal(pickle.dumps(forged))


class Forged:
    """Pickles as a call and a state of one's choice."""

    def __init__(self, call, arguments, state):
        self.reduced = call, arguments, state

    def __reduce__(self):
        return self.reduced


def text_of(word):
    return b"\x8c" + bytes([len(word)]) + word.encode()


def global_of(module, name):
    return text_of(module) + text_of(name) + b"\x93"


BOMBS = {
    "a memo place of four billion": b"\x80\x04]r\xff\xff\xff\xff.",
    "a string of sixteen exabytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**64 - 1),
    "a bytearray of a terabyte": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
    "a frame of a terabyte": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N.",
    "an integer of two gigabytes": b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
    "a tuple a million deep": b"\x80\x04)" + b"\x85" * 1_000_000 + b".",
    "a tuple a million deep as a key": b"\x80\x04})" + b"\x85" * 1_000_000 + b"Ns.",
    "a tuple a million deep in a set": b"\x80\x04\x8f()" + b"\x85" * 1_000_000 + b"\x90.",
    "a list a million deep": b"\x80\x04" + b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "a tuple of two to the hundredth leaves as a key": (
        b"\x80\x04})" + b"".join(b"q\x01h\x01\x86" for _ in range(100)) + b"Ns."
    ),
    "a million marks": b"\x80\x04" + b"(" * 1_000_000 + b".",
    "a bytearray of a number": b"\x80\x04" + global_of("builtins", "bytearray") + b"J\x00\x00\x00\x70\x85R.",
    "a string encoded ten thousand times": (
        b"\x80\x04(" + global_of("_codecs", "encode") + b"\x94"
        + b"X" + struct.pack("<I", 1_000_000) + b"a" * 1_000_000 + b"\x94" + text_of("latin1") + b"\x94"
        + b"h\x00h\x01h\x02\x86R\x94" * 10_000 + b"l."
    ),
    "a bytearray that a thousand arrays are made of": (
        b"\x80\x05(" + global_of("numpy._core.numeric", "_frombuffer") + b"\x94"
        + b"\x96" + struct.pack("<Q", 8_000_000) + bytes(8_000_000) + b"\x94"
        + pickle.dumps(np.dtype("f8"), 4)[2 + 9 : -1].replace(b"\x94", b"") + b"\x94J" + struct.pack("<i", 1_000_000)
        + b"\x85\x94" + text_of("C") + b"\x94"
        + b"h\x00(h\x01h\x02h\x03h\x04tR\x94" * 1_000 + b"l."
    ),
    "an array of four exabytes": pickle.dumps(
        Forged(*np.arange(3.0).__reduce__()[:2], (1, (2**62,), np.dtype("f8"), False, b""))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_in_a_value_or_in_one_sentence(name, tmp_path):
    """In a process of its own, which may not take more than 3 GB: the wrong answer would end it."""
    path = tmp_path / "bomb.pickle"
    path.write_bytes(BOMBS[name])
    script = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from median_spark.digests.pickled import unpickle_digests
from median_spark.errors import InputError
try:
    unpickle_digests(open(sys.argv[1], "rb").read(), "bomb")
except InputError as refused:
    print(str(refused)[:300])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("bomb: ")
    assert len(done.stdout.splitlines()) == 1
