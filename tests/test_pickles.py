"""Pickled dictionaries: what is read equals what was pickled, and hostile pickles end in one sentence."""

import copyreg
import pickle
import pickletools
import struct
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
from crick import TDigest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from median_spark import pickles
from median_spark.digests.pickled import first_compression, unpickle_digests
from median_spark.errors import GeneMapError, InputError, MedianSparkError
from median_spark.pickles import limits_for, read_dict

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
WHAT = "a dict of name to number"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, width=64) | texts
dicts = st.dictionaries(texts | st.integers(0, 9), scalars, max_size=30)
simple_dtypes = (
    np_st.boolean_dtypes()
    | np_st.integer_dtypes(endianness="?")
    | np_st.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | np_st.unicode_string_dtypes(endianness="?", min_len=1)
)
numpy_scalars = simple_dtypes.flatmap(lambda dtype: np_st.arrays(dtype, (1,))).map(lambda array: array[0])


def load(content, location="x"):
    return read_dict(content, location, WHAT)


def same(one, other):
    """Say whether two dicts have the same entries, of the same types, in the same order."""
    return [*map(repr, one.items())] == [*map(repr, other.items())]


def with_numpy_1_names(content):
    """Return a pickle of protocol 2 as numpy 1 would have written it."""
    return content.replace(b"cnumpy._core.", b"cnumpy.core.")


def refusal(content, load=load):
    with pytest.raises(InputError) as refused:
        load(content, "/some/file.pickle")
    return str(refused.value)


def said_of(content, read):
    """Return what is said when a pickle is refused, or None if it is read."""
    try:
        read(content, "here")
    except MedianSparkError as refused:
        return str(refused)
    return None


class TestDicts:
    @given(dicts, st.sampled_from(PROTOCOLS))
    def test_are_read_as_they_were_pickled(self, value, protocol):
        assert same(load(pickle.dumps(value, protocol)), value)

    @given(dicts)
    def test_are_read_from_optimised_pickles_and_from_those_of_the_python_pickler(self, value):
        assert same(load(pickletools.optimize(pickle.dumps(value))), value)
        assert same(load(pickle._dumps(value, 4)), value)

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_large_ones(self, protocol):
        value = {f"ENSG{number:011d}": number / 7 for number in range(100_000)}
        assert load(pickle.dumps(value, protocol)) == value

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_an_ordered_dict_is_read_as_a_dict(self, protocol):
        found = load(pickle.dumps(OrderedDict(b=1, a=2), protocol))
        assert type(found) is dict
        assert same(found, {"b": 1, "a": 2})

    @given(st.sampled_from(PROTOCOLS), numpy_scalars)
    def test_numpy_scalars_become_those_of_python(self, protocol, scalar):
        (found,) = load(pickle.dumps({"a": scalar}, protocol)).values()
        assert type(found) is type(scalar.item())
        assert repr(found) == repr(scalar.item())

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_of_numpy_1_and_of_numpy_2(self, protocol):
        value = {np.str_("ENSG1"): np.float64(0.1), np.str_(""): np.int64(3)}
        content = pickle.dumps(value, protocol)
        for spelling in (content, with_numpy_1_names(content)):
            assert same(load(spelling), {"ENSG1": 0.1, "": 3})


class Hostile:
    """Pickles as a call of something."""

    def __init__(self, called, *arguments):
        self.reduced = called, arguments

    def __reduce__(self):
        return self.reduced


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


def forged_array(shape, content, dtype="f8"):
    call, arguments, _ = np.arange(3.0).__reduce__()
    return Forged(call, arguments, (1, shape, np.dtype(dtype), False, content))


class TestWhatNoDictNeeds:
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize("read", [load, unpickle_digests, first_compression])
    def test_nothing_is_run_and_it_is_refused_by_name(self, tmp_path, protocol, read):
        made = tmp_path / "made"
        content = pickle.dumps({"a": Hostile(exec, f"open({str(made)!r}, 'w')")}, protocol)
        assert "exec, which a dict of " in refusal(content, read)
        assert not made.exists()

    @pytest.mark.parametrize(
        ("content", "named"),
        [
            (b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.", "os.system"),
            (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", "os.system"),
            (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
            (b"\x80\x02(X\x04\x00\x00\x00trueios\nsystem\n.", "os.system"),
            (b"\x80\x02(cos\nsystem\no.", "os.system"),
            (b"\x80\x04" + global_of("numpy", "dtype.__class__") + b".", "numpy.dtype.__class__"),
            (pickle.dumps(Hostile(getattr, "a", "b")), "getattr"),
            (pickle.dumps({"a": TDigest()}), "crick.tdigest.TDigest"),
            (pickle.dumps({"a": {1}}, 2), "builtin"),
            (pickle.dumps({"a": np.random.default_rng()}), "numpy.random"),
        ],
    )
    def test_a_name(self, content, named):
        said = refusal(content)
        assert said.startswith("/some/file.pickle: this pickle holds ")
        assert named in said

    @pytest.mark.parametrize(
        ("value", "named"),
        [
            ([1], "holds a list; it must be a dict of name to number"),
            (np.ndarray, "holds numpy.ndarray; it must be"),
            ({"a": 1, "b": [1]}, "there is a list in entry 2"),
            ({"a": {}}, "there is a dict in entry 1"),
            ({(1, 2): 3}, "there is a tuple in entry 1"),
            ({"a": b"bytes"}, "there is a bytes in entry 1"),
            ({"a": 1j}, "complex"),
            ({"a": np.arange(3)}, "there is an array in entry 1"),
            ({"a": np.array([None, "x"], dtype=object)}, "there is an array in entry 1"),
            ({"a": np.zeros(2, dtype=[("a", "f8", (2,))])}, "there is an array in entry 1"),
            ({"a": np.dtype("f8")}, "there is a dtype in entry 1"),
            ({"a": np.zeros(2, dtype=[("a", "f8")])[0]}, "a scalar has fields"),
            ({"a": np.bytes_(b"a")}, "S1 is no dtype of numbers or text"),
            ({"a": 2**64}, "there is an integer of 65 bits"),
            ({-(2 ** (10**6)): 1}, "there is an integer of 1,000,001 bits"),
            ({"a" * 1_001: 1}, "there is a text of 1,001 characters"),
            ({"a": "b" * 10**7}, "there is a text of 10,000,000 characters"),
            ({"\ud800": 1}, "there is a text that is not Unicode"),
        ],
    )
    def test_a_value(self, value, named):
        said = refusal(pickle.dumps(value))
        assert named in said
        assert len(said) < 300

    def test_is_raised_as_the_caller_wishes(self):
        for value in ([], {"a": []}):
            with pytest.raises(GeneMapError, match=r"^here: .*must be a gene map"):
                read_dict(pickle.dumps(value), "here", "a gene map", GeneMapError)

    @pytest.mark.parametrize(
        "content",
        [
            b"\x80\x02]\x81.",
            b"\x80\x02\x82\x01.",
            b"\x80\x02]Q.",
            b"Px\n.",
            b"\x80\x05\x97.",
            b"\x80\x09N.",
            b"\x80\x04" + global_of("numpy", "ndarray") + b")\x81.",
        ],
        ids=["NEWOBJ", "EXT1", "BINPERSID", "PERSID", "NEXT_BUFFER", "protocol 9", "NEWOBJ of an array"],
    )
    def test_an_instruction(self, content):
        said = refusal(content)
        assert "is cut off or damaged" in said
        assert "\n" not in said

    @pytest.mark.parametrize(
        "name", ["numpy.dtype", "_codecs.encode", "collections.OrderedDict", "crick.tdigest.TDigest"]
    )
    @pytest.mark.parametrize("state", [b"}" + text_of("__call__") + b"Ns", b"N}" + text_of("__call__") + b"Ns\x86"])
    def test_no_pickle_changes_what_the_next_one_calls(self, name, state):
        named = global_of(*name.rsplit(".", 1))
        assert "has no state" in refusal(b"\x80\x04" + named + state + b"b.", unpickle_digests)
        good = {"A": np.float64(1.5)}
        assert load(pickle.dumps(good, 2)) == good
        assert unpickle_digests(pickle.dumps({"A": TDigest()}, 2), "x").undetected == ["A"]

    @pytest.mark.parametrize("seen", [False, True])
    def test_an_extension_is_a_name_too(self, seen):
        copyreg.add_extension(Hostile.__module__, "Hostile", 240)
        try:
            content = pickle.dumps({"a": Hostile}, 2)
            if seen:
                pickle.loads(content)  # Python keeps it, and asks for no name any more
            # In this process, which knows the extension: a reader that was started before, or anew, does not.
            said = refusal(content, lambda content, location: pickles.load(content, location, "a dict"))
            assert f"holds {Hostile.__module__}.Hostile, which a dict" in said
        finally:
            copyreg.remove_extension(Hostile.__module__, "Hostile", 240)


class TestDamage:
    @given(dicts, st.sampled_from(PROTOCOLS), st.data())
    def test_a_pickle_that_is_cut_off_is_refused(self, value, protocol, data):
        content = pickle.dumps(value, protocol)
        kept = data.draw(st.integers(0, len(content) - 1))
        assert f"of {kept:,} bytes is cut off" in refusal(content[:kept])

    @given(st.binary(max_size=200), st.data())
    def test_anything_at_all_is_a_value_or_a_refusal(self, noise, data):
        value = {"a": [np.arange(3.0), "b", {1}], "c": TDigest(), "d": np.float32(1), "e": np.str_("f")}
        content = bytearray(pickle.dumps(value, data.draw(st.sampled_from(PROTOCOLS))))
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + len(noise)] = noise
        for read in (load, unpickle_digests, first_compression):
            said = said_of(bytes(content), read)
            assert said is None or said.startswith("here: ")
            assert len(said or "") < 500

    @given(st.sampled_from("<>"), st.binary(min_size=4, max_size=16).filter(lambda text: len(text) % 4 == 0))
    def test_a_numpy_text_is_unicode_or_refused(self, order, content):
        call, (dtype, _) = np.str_("abc").__reduce__()
        forged = Hostile(call, dtype.newbyteorder(order), content)
        try:
            expected = content.decode("utf-32-le" if order == "<" else "utf-32-be").rstrip("\0")
        except UnicodeDecodeError:
            assert "UnicodeDecodeError" in refusal(pickle.dumps({"a": forged}))
        else:
            assert load(pickle.dumps({"a": forged})) == {"a": expected}

    @pytest.mark.parametrize("size", [0, 1, 7, 9, 16])
    def test_a_numpy_number_of_another_size(self, size):
        call, (dtype, _) = np.float64(1).__reduce__()
        assert "is cut off or damaged" in refusal(pickle.dumps({"a": Hostile(call, dtype, bytes(size))}))

    @pytest.mark.parametrize("flags", [0, 1, 63])
    def test_a_scalar_that_claims_to_be_a_pointer(self, flags):
        """numpy itself would take the bytes for the address of an object."""
        call, _ = np.float64(1).__reduce__()
        pointer = Forged(np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, flags))
        assert "O8 is no dtype of numbers or text" in refusal(pickle.dumps({"a": Hostile(call, pointer, b"\x01" * 8)}))

    @pytest.mark.parametrize(
        "shape", [(2**40,), (-1,), (3, -1), (2**62, 2**62), (0, 2**63), ("a",), (1,) * 100, (2,), 3]
    )
    @pytest.mark.parametrize("protocol", [2, 5])
    def test_a_forged_shape_of_centroids(self, shape, protocol):
        made = np.ones(3, dtype=[("mean", "<f8"), ("weight", "<f8")])
        if protocol == 5:
            call, *_ = made.__reduce_ex__(5)
            forged = Hostile(call, made.tobytes(), made.dtype, shape, "C")
        else:
            forged = forged_array(shape, made.tobytes(), made.dtype)
        digest = Forged(TDigest, (100.0,), (forged, 3.0, 1.0, 1.0))
        assert "the digest of A is damaged" in refusal(pickle.dumps({"A": digest}, protocol), unpickle_digests)

    def test_a_bytearray_that_grows_while_it_is_looked_at(self):
        content = b"\x80\x05\x96" + struct.pack("<Q", 2) + b"ab\x94\x98h\x00(K\x01K\x02e."
        assert "is cut off or damaged (BufferError" in refusal(content)

    def test_a_dtype_that_holds_itself(self):
        dtype = (
            b"cnumpy\ndtype\n" + text_of("V16") + b"\x89\x88\x87R\x94(K\x03" + text_of("|") + b"N"
            + text_of("a") + b"\x85}" + text_of("a") + b"h\x00K\x00\x86sK\x10K\x01K\x00tb"
        )  # fmt: skip
        content = b"C\x10" + bytes(16)
        scalar = b"cnumpy.core.multiarray\nscalar\n" + dtype + content + b"\x86R"
        assert "is cut off or damaged (RecursionError" in refusal(b"\x80\x04}" + text_of("A") + scalar + b"s.")
        array = (
            global_of("numpy._core.numeric", "_frombuffer")
            + b"("
            + content
            + dtype
            + b"K\x01\x85"
            + text_of("C")
            + b"tR"
        )
        digest = global_of("crick.tdigest", "TDigest") + b"Kd\x85R(" + array + b"K\x01K\x01K\x01tb"
        said = refusal(b"\x80\x04}" + text_of("A") + digest + b"s.", unpickle_digests)
        assert "the digest of A is damaged (RecursionError" in said

    @pytest.mark.parametrize("state", [([1.0], 1.0, 1.0, 1.0), (np.ones(1), 1.0, 1.0, 1.0), (1, 2)])
    def test_of_a_gene_with_a_long_name_is_told_in_a_few_words(self, state):
        digest = Forged(TDigest, (100.0,), state)
        assert len(refusal(pickle.dumps({"G" * 1_000: digest}), unpickle_digests)) < 400


@pytest.mark.parametrize("many", [1_000, 50_000])
def test_texts_made_of_one_scalar_cross_as_one(many):
    """Each for itself, they would take a hundred times as much as the pickle, also where they are awaited."""
    call, _ = np.str_("a").__reduce__()
    dtype, content = np.dtype("U1000"), ("\U0001f600" * 1_000).encode("utf-32-le")
    found = load(pickle.dumps({str(number): Hostile(call, dtype, content) for number in range(many)}))
    assert len(found) == many
    assert len({id(text) for text in found.values()}) == 1


def numbered(entries):
    return b"\x80\x04}(" + b"".join(pickle.dumps(key, 2)[2:-1] + b"N" for key in entries) + b"u."


MANY = 1_000_000
DEEP = 300_000
"""Recursion over so many objects in C exhausts a stack of 8 MB three times over."""

BOMBS = {
    "a memo place of four billion": b"\x80\x04]r\xff\xff\xff\xff.",
    "a string of sixteen exabytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**64 - 1),
    "a bytearray of a terabyte": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
    "a frame of a terabyte": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N.",
    "an integer of two gigabytes": b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
    "an integer of a million digits": b"I" + b"9" * MANY + b"\n.",
    "a very deep tuple": b"\x80\x04)" + b"\x85" * DEEP + b".",
    "a very deep tuple as a key": b"\x80\x04})" + b"\x85" * DEEP + b"Ns.",
    "a very deep tuple in a set": b"\x80\x04\x8f()" + b"\x85" * DEEP + b"\x90.",
    "a very deep list": b"\x80\x04" + b"]" * DEEP + b"a" * (DEEP - 1) + b".",
    "a very deep dict": b"\x80\x04" + b"}K\x01" * DEEP + b"Ns" + b"s" * (DEEP - 1) + b".",
    "a dtype a hundred thousand deep": (
        b"\x80\x04" + global_of("numpy", "dtype") + b"\x94" + b"h\x00" * 100_000 + b"N" + b"\x85R" * 100_000 + b"."
    ),
    "a tuple of two to the hundredth leaves as a key": (
        b"\x80\x04})" + b"".join(b"q\x01h\x01\x86" for _ in range(100)) + b"Ns."
    ),
    "a list of two to the hundredth leaves as an id": (
        b"\x80\x04}" + text_of("a") + b"]" + b"q\x01]h\x01ah\x01a" * 100 + b"s."
    ),
    "integers that all have one hash": numbered((2**61 - 1) * key for key in range(1, 100_000)),
    "a million marks": b"\x80\x04" + b"(" * MANY + b".",
    "a name of thirty megabytes": b"\x80\x02c" + b"a" * (30 * MANY) + b"\nb\n.",
    "a text of thirty megabytes": b"\x80\x04}X" + struct.pack("<I", 30 * MANY) + b"a" * (30 * MANY) + b"Ns.",
    "a bytearray of a number": b"\x80\x04" + global_of("builtins", "bytearray") + b"J\x00\x00\x00\x70\x85R.",
    "bytes of a number": b"\x80\x04" + global_of("builtins", "bytes") + b"J\x00\x00\x00\x70\x85R.",
    "a string encoded ten thousand times": (
        b"\x80\x04(" + global_of("_codecs", "encode") + b"\x94"
        + b"X" + struct.pack("<I", MANY) + b"a" * MANY + b"\x94" + text_of("latin1") + b"\x94"
        + b"h\x00h\x01h\x02\x86R\x94" * 10_000 + b"l."
    ),
    "a text a billion characters wide": pickle.dumps(
        {"A": Hostile(np.str_("a").__reduce__()[0], Forged(np.dtype, ("U999999999", False, True),
                      (3, "<", None, None, None, -1, -1, 8)), b"a\0\0\0")}
    ),
    "an array of four exabytes": pickle.dumps(
        {"A": Forged(TDigest, (100.0,), (forged_array((2**62,), b""), 1.0, 1.0, 1.0))}
    ),
    "an array of a billion texts of no width": pickle.dumps({"A": forged_array((2**40,), b"", "V0")}),
}  # fmt: skip


SLOW = {"integers that all have one hash", "a tuple of two to the hundredth leaves as a key"}
"""These end at the limit of processor time."""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_in_one_sentence_and_not_this_process(name, monkeypatch):
    if name in SLOW:
        monkeypatch.setattr(pickles, "limits_for", lambda content: replace(limits_for(content), processor_seconds=1))
    for read in (load,) if name in SLOW else (load, unpickle_digests):
        said = refusal(BOMBS[name], read)
        assert said.startswith("/some/file.pickle: ")
        assert len(said.splitlines()) == 1
        assert len(said) < 400
    assert load(pickle.dumps({"after": 1})) == {"after": 1}


def test_a_small_pickle_may_not_take_half_a_gigabyte_or_six_seconds():
    assert limits_for(bytes(100_000)).memory < 500_000_000
    assert limits_for(bytes(100_000)).processor_seconds < 6
