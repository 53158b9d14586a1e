"""The stack machine that pickles are written for, with the instructions that plain values need."""

import pickletools
import struct
from collections.abc import Callable, Mapping
from typing import Any

from median_spark.unpickling.kinds import (
    UNFINISHED,
    Arguments,
    Begun,
    CutOffError,
    ForeignError,
    Global,
    Rebuild,
    all_hashable,
    expect,
    hashable,
)
from median_spark.unpickling.named import FUNCTIONS

_PROTOCOLS = range(2, 6)
_COPIED = frozenset({str, bytes, bytearray, list})
_FLOAT = struct.Struct(">d")
_STOP, _MEMOIZE, _BINGET = ord("."), 0x94, ord("h")


class Machine:
    """The stack machine that a pickle is written for.

    Every operation takes time and memory in proportion to the bytes that it has in the pickle, but for calls and states
    that are made of what they are given; `_spare` counts the items and bytes that these may still take, and an honest
    pickle needs no more than its own length.
    """

    def __init__(self, content: bytes, classes: Mapping[str, Rebuild]) -> None:
        self.position = 0
        self._content = content
        self._classes = classes
        self._spare = len(content)
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> object:
        """Return the pickled value."""
        content, operations = self._content, _OPERATIONS
        stack, memo = self._stack, self._memo
        length = len(content)
        if not content:
            raise CutOffError
        while self.position < length:
            code = content[self.position]
            self.position += 1
            # Half of all instructions are these two; they are not called, which saves a quarter of the time.
            if code == _MEMOIZE:
                value = memo[len(memo)] = stack[-1]
                if type(value) is Begun:
                    value.places.append(len(memo) - 1)
            elif code == _BINGET and self.position < length:
                stack.append(memo[content[self.position]])
                self.position += 1
            elif code in operations:
                operation, argument = operations[code]
                operation(self, argument)
            elif code == _STOP:
                return self._finished(stack[-1])
            else:
                raise ForeignError(_described(code))
        raise CutOffError

    # What is read from the content

    def _take(self, size: int) -> bytes:
        begin = self.position
        taken = self._content[begin : begin + size]
        if len(taken) != size:
            raise CutOffError
        self.position = begin + size
        return taken

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "little")

    def _line(self) -> str:
        end = self._content.find(b"\n", self.position)
        if end < 0:
            raise CutOffError
        line = self._content[self.position : end].decode()
        self.position = end + 1
        return line

    def _proto(self, _: None) -> None:
        protocol = self._number(1)
        if protocol not in _PROTOCOLS:
            message = f"its protocol is {protocol}; 2 to 5 can be read"
            raise ValueError(message)

    def _frame(self, _: None) -> None:
        self._take(8)

    def _text(self, width: int) -> None:
        self._stack.append(self._take(self._number(width)).decode("utf-8", "surrogatepass"))

    def _octets(self, width: int) -> None:
        self._stack.append(self._take(self._number(width)))

    def _octet_array(self, _: None) -> None:
        self._stack.append(bytearray(self._take(self._number(8))))

    def _unsigned(self, size: int) -> None:
        self._stack.append(self._number(size))

    def _signed(self, _: None) -> None:
        self._stack.append(int.from_bytes(self._take(4), "little", signed=True))

    def _long(self, width: int) -> None:
        self._stack.append(int.from_bytes(self._take(self._number(width)), "little", signed=True))

    def _float(self, _: None) -> None:
        self._stack.append(_FLOAT.unpack(self._take(8))[0])

    # The stack and the memo

    def _constant(self, value: object) -> None:
        self._stack.append(value)

    def _mark(self, _: None) -> None:
        self._marks.append(len(self._stack))

    def _since_mark(self) -> list[Any]:
        begin = self._marks.pop()
        taken = self._stack[begin:]
        del self._stack[begin:]
        return taken

    def _pop(self) -> Any:
        if self._marks and len(self._stack) <= self._marks[-1]:
            message = "a value is missing after a mark"
            raise ValueError(message)
        return self._stack.pop()

    def _get(self, width: int) -> None:
        self._stack.append(self._memo[self._number(width)])

    def _put(self, width: int) -> None:
        place = self._number(width)
        value = self._memo[place] = self._stack[-1]
        if type(value) is Begun:
            value.places.append(place)

    # Containers

    def _tuple_of(self, size: int) -> None:
        begin = len(self._stack) - size
        if begin < (self._marks[-1] if self._marks else 0):
            message = "a value is missing after a mark"
            raise ValueError(message)
        items = self._stack[begin:]
        del self._stack[begin:]
        self._push_tuple(items)

    def _tuple_since_mark(self, _: None) -> None:
        self._push_tuple(self._since_mark())

    def _push_tuple(self, items: list[Any]) -> None:
        self._stack.append(tuple(items) if UNFINISHED.isdisjoint(map(type, items)) else Arguments(items))

    def _new_list(self, _: None) -> None:
        self._stack.append([])

    def _new_dict(self, _: None) -> None:
        self._stack.append({})

    def _new_set(self, _: None) -> None:
        self._stack.append(set())

    def _append(self, _: None) -> None:
        value = self._pop()
        expect(self._stack[-1], list).append(self._finished(value))

    def _appends(self, _: None) -> None:
        items = self._since_mark()
        expect(self._stack[-1], list).extend(self._all_finished(items))

    def _set_item(self, _: None) -> None:
        value, key = self._pop(), self._pop()
        expect(self._stack[-1], dict)[hashable(key)] = self._finished(value)

    def _set_items(self, _: None) -> None:
        items = self._all_finished(self._since_mark())
        keys = items[::2]
        expect(self._stack[-1], dict).update(zip(all_hashable(keys), items[1::2], strict=True))

    def _add_items(self, _: None) -> None:
        items = all_hashable(self._since_mark())
        expect(self._stack[-1], set).update(items)

    def _frozen_set(self, _: None) -> None:
        self._stack.append(frozenset(all_hashable(self._since_mark())))

    def _all_finished(self, items: list[Any]) -> list[Any]:
        return items if UNFINISHED.isdisjoint(map(type, items)) else [self._finished(item) for item in items]

    def _finished(self, item: Any) -> object:
        if type(item) is Begun:
            return self._rebuilt(item, ())
        if type(item) in UNFINISHED:
            raise ForeignError(item.name if type(item) is Global else "a call without its end")
        return item

    # What the pickle names

    def _named(self, _: None) -> None:
        self._push_named(self._line(), self._line())

    def _named_on_stack(self, _: None) -> None:
        name, module = self._pop(), self._pop()
        self._push_named(expect(module, str), expect(name, str))

    def _push_named(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        if full not in self._classes and full not in FUNCTIONS:
            raise ForeignError(full[:200])
        self._stack.append(Global(full))

    def _reduce(self, _: None) -> None:
        arguments, called = self._pop(), self._pop()
        name = expect(called, Global).name
        if not isinstance(arguments, tuple):
            message = f"the arguments of {name} are no tuple"
            raise TypeError(message)
        if name in self._classes:
            if type(arguments) is not tuple:
                message = f"the arguments of {name} are not all values"
                raise TypeError(message)
            self._stack.append(Begun(self._classes[name], arguments))
            return
        self._charge(sum(len(argument) for argument in arguments if type(argument) in _COPIED))
        self._stack.append(FUNCTIONS[name](*arguments))

    def _charge(self, copied: int) -> None:
        self._spare -= copied
        if self._spare < 0:
            message = "it copies more than its own length"
            raise ValueError(message)

    def _build(self, _: None) -> None:
        state = self._pop()
        begun = expect(self._pop(), Begun)
        self._charge(8 * sum(len(item) for item in expect(state, tuple) if type(item) in (tuple, dict)))
        self._stack.append(self._rebuilt(begun, state))

    def _rebuilt(self, begun: Begun, state: tuple[Any, ...]) -> object:
        value = begun.rebuild(begun.arguments, state)
        for place in begun.places:
            self._memo[place] = value
        return value


def _described(code: int) -> str:
    for known in pickletools.opcodes:
        if ord(known.code) == code:
            return f"the instruction {known.name}" + (" of protocol 0 (2 to 5 can be read)" if not known.proto else "")
    message = f"byte {code} is no instruction of a pickle"
    raise ValueError(message)


_NAMED_OPERATIONS: dict[str, tuple[Callable[[Machine, Any], None], object]] = {
    "PROTO": (Machine._proto, None),
    "FRAME": (Machine._frame, None),
    "MARK": (Machine._mark, None),
    "NONE": (Machine._constant, None),
    "NEWTRUE": (Machine._constant, True),
    "NEWFALSE": (Machine._constant, False),
    "BININT": (Machine._signed, None),
    "BININT1": (Machine._unsigned, 1),
    "BININT2": (Machine._unsigned, 2),
    "LONG1": (Machine._long, 1),
    "LONG4": (Machine._long, 4),
    "BINFLOAT": (Machine._float, None),
    "SHORT_BINUNICODE": (Machine._text, 1),
    "BINUNICODE": (Machine._text, 4),
    "BINUNICODE8": (Machine._text, 8),
    "SHORT_BINBYTES": (Machine._octets, 1),
    "BINBYTES": (Machine._octets, 4),
    "BINBYTES8": (Machine._octets, 8),
    "BYTEARRAY8": (Machine._octet_array, None),
    "EMPTY_LIST": (Machine._new_list, None),
    "APPEND": (Machine._append, None),
    "APPENDS": (Machine._appends, None),
    "EMPTY_TUPLE": (Machine._tuple_of, 0),
    "TUPLE1": (Machine._tuple_of, 1),
    "TUPLE2": (Machine._tuple_of, 2),
    "TUPLE3": (Machine._tuple_of, 3),
    "TUPLE": (Machine._tuple_since_mark, None),
    "EMPTY_DICT": (Machine._new_dict, None),
    "SETITEM": (Machine._set_item, None),
    "SETITEMS": (Machine._set_items, None),
    "EMPTY_SET": (Machine._new_set, None),
    "ADDITEMS": (Machine._add_items, None),
    "FROZENSET": (Machine._frozen_set, None),
    "BINGET": (Machine._get, 1),
    "LONG_BINGET": (Machine._get, 4),
    "BINPUT": (Machine._put, 1),
    "LONG_BINPUT": (Machine._put, 4),
    "GLOBAL": (Machine._named, None),
    "STACK_GLOBAL": (Machine._named_on_stack, None),
    "REDUCE": (Machine._reduce, None),
    "BUILD": (Machine._build, None),
}
"""What each instruction does, and with which argument: a width in bytes, a number of items, or a value."""

_OPERATIONS = {ord(operation.code): _NAMED_OPERATIONS[operation.name] for operation in pickletools.opcodes
               if operation.name in _NAMED_OPERATIONS}  # fmt: skip
