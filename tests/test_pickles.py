"""Reading pickles: dictionaries come out as they went in, and nothing hostile is called, or harms who reads it."""

import pickle
import pickletools
import struct
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
from crick import TDigest
from hypothesis import given, settings
from hypothesis import strategies as st

from median_spark.digests.pickled import first_compression, unpickle_digests
from median_spark.errors import InputError
from median_spark.pickles import read_dict

PROTOCOLS = (0, 1, 2, 3, 4, 5)

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
dicts = st.dictionaries(scalars, scalars)


def load(content, location="x"):
    return read_dict(content, location, "a dict of name to number")


def with_numpy_1_names(content):
    """Return a pickle of protocol 2 as numpy 1 would have written it."""
    return content.replace(b"cnumpy._core.", b"cnumpy.core.")


def refusal(content):
    """Return what is said when a pickle is refused."""
    with pytest.raises(InputError) as refused:
        load(content, "/some/file.pickle")
    return str(refused.value)


def said_of(content, read):
    """Return what is said when a pickle is refused, or None if it is read."""
    try:
        read(content, "x")
    except InputError as refused:
        return str(refused)
    return None


def same(one, other):
    """Say whether two dicts hold the same, of the same types, in the same order."""
    pairs = zip(one.items(), other.items(), strict=True)
    return all((type(a), a, type(b), b) == (type(c), c, type(d), d) for (a, b), (c, d) in pairs)


@given(dicts, st.sampled_from(PROTOCOLS))
def test_dicts_are_read_as_they_were_pickled(value, protocol):
    for content in (pickle.dumps(value, protocol), pickletools.optimize(pickle.dumps(value, protocol))):
        assert same(load(content), value)
    assert same(load(pickle._dumps(value, protocol)), value)


def test_an_ordered_dict_is_read_as_a_dict():
    for protocol in PROTOCOLS:
        found = load(pickle.dumps(OrderedDict(b=1, a=2), protocol))
        assert type(found) is dict
        assert list(found.items()) == [("b", 1), ("a", 2)]


@pytest.mark.parametrize("kind", ["b1", "i1", ">i2", "u4", "i8", "f2", "f4", ">f8", "U1", "U12"])
@pytest.mark.parametrize("protocol", PROTOCOLS[2:])
def test_scalars_of_numpy_become_those_of_python(kind, protocol):
    numbers = np.array([1, 0, 1]).astype(kind)
    value = {str(place): number for place, number in enumerate(numbers)}
    content = pickle.dumps(value, protocol)
    for spelled in (content, with_numpy_1_names(content)):
        assert same(load(spelled), {name: number.item() for name, number in value.items()})


class Hostile:
    """Pickles as a call of something."""

    def __init__(self, called, *arguments):
        self.reduced = called, arguments

    def __reduce__(self):
        return self.reduced


def test_nothing_that_is_not_on_the_list_is_called_and_it_is_named(tmp_path):
    made = tmp_path / "made"
    for protocol in PROTOCOLS:
        content = pickle.dumps({"a": Hostile(exec, f"open({str(made)!r}, 'w')")}, protocol)
        assert "exec, which a dict of name to number does not need; it was not read" in refusal(content)
    assert not made.exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.", "os.system"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", "os.system"),
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"\x80\x02(X\x04\x00\x00\x00trueios\nsystem\n.", "os.system"),
        (b"\x80\x02(cos\nsystem\no.", "os.system"),
        (b"\x80\x02]\x81.", "damaged"),
        (b"\x80\x02\x82\x01.", "damaged"),
        (b"\x80\x02]Q.", "damaged"),
        (b"\x80\x05\x97.", "damaged"),
        (pickle.dumps(Hostile(getattr, "a", "b")), "getattr"),
        (pickle.dumps(np.ndarray), "numpy.ndarray"),
        (pickle.dumps({"a": [np.ndarray]}), "a list"),
        (pickle.dumps({"a": np.arange(3)}), "an array"),
        (pickle.dumps({"a": {}}), "a dict in entry 1"),
        (pickle.dumps({(1, 2): 3}), "a tuple"),
        (pickle.dumps({"a": 1, "b": 2**300}), "an integer of 301 bits in entry 2"),
        (pickle.dumps({"a": "x" * 5_000}), "a text of 5,000 characters"),
        (pickle.dumps({"a": "\ud800"}), "a text that is not Unicode"),
        (pickle.dumps({"a": b"x"}), "a bytes"),
        (pickle.dumps(TDigest()), "crick.tdigest.TDigest"),
        (pickle.dumps([1]), "a list; it must be a dict of name to number"),
        (b"", "cut off"),
    ],
)
def test_what_is_no_such_dict_is_refused_in_one_short_sentence(content, named):
    said = refusal(content)
    assert said.startswith("/some/file.pickle: this pickle ")
    assert named in said
    assert len(said) < 400


@given(dicts, st.data())
def test_a_pickle_that_is_cut_off_is_refused(value, data):
    content = pickle.dumps(value)
    assert "is cut off" in refusal(content[: data.draw(st.integers(0, len(content) - 1))])


@given(st.binary(max_size=200), st.data())
@settings(max_examples=300)
def test_anything_at_all_is_a_value_or_a_refusal(noise, data):
    content = bytearray(
        pickle.dumps({"a": [np.arange(3.0), "b", 1], "c": TDigest()}, data.draw(st.sampled_from(PROTOCOLS[2:])))
    )
    place = data.draw(st.integers(0, len(content) - 1))
    content[place : place + len(noise)] = noise
    for read in (load, unpickle_digests, first_compression):
        said = said_of(bytes(content), read) or "x: "
        assert said.startswith("x: ")
        assert len(said) < 600


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
    "a list doubled a hundred times": (
        b"\x80\x04}" + text_of("a") + b"]" + b"".join(b"\x94]h" + bytes([n]) + b"ah" + bytes([n]) + b"a"
                                                     for n in range(100)) + b"s."
    ),
    "keys of one hash": b"\x80\x04}(" + b"".join(
        pickle.dumps(number * (2**61 - 1), 2)[2:-1] + b"N" for number in range(60_000)) + b"u.",
    "a long name": b"\x80\x02c" + b"m" * 1_000_000 + b"\n" + b"n" * 1_000_000 + b"\n.",
    "an array of four exabytes": pickle.dumps(
        Forged(*np.arange(3.0).__reduce__()[:2], (1, (2**62,), np.dtype("f8"), False, b""))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize(
    "read",
    [
        "from median_spark.digests.pickled import unpickle_digests as read",
        "from median_spark.pickles import read_dict; read = lambda *given: read_dict(*given, 'a dict')",
    ],
)
def test_a_bomb_ends_in_one_sentence(name, read, tmp_path):
    """In a process of its own, which may not take more than 3 GB: the wrong answer would end it."""
    path = tmp_path / "bomb.pickle"
    path.write_bytes(BOMBS[name])
    script = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
{read}
from median_spark.errors import InputError
try:
    read(open(sys.argv[1], "rb").read(), "bomb")
except InputError as refused:
    print(refused)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("bomb: ")
    assert len(done.stdout.splitlines()) == 1
    assert len(done.stdout) < 600
