"""Whether bytes are a well-formed D-Bus message (D-Bus Specification 0.42, Marshaling and Message Format).

A bus daemon lets nothing malformed through; a peer may send anything, and dbus-fast 5.2.0 reads past its buffer (it
crashes) on some such messages. So what a peer sends is walked here first, in plain Python.
"""

from __future__ import annotations

import struct

_FIXED = {"y": 1, "b": 4, "n": 2, "q": 2, "i": 4, "u": 4, "x": 8, "t": 8, "d": 8}
_ALIGNMENT = {**_FIXED, "s": 4, "o": 4, "g": 1, "v": 1, "a": 4, "(": 8, "{": 8}
_HEADER_FIELDS = {1: "o", 2: "s", 3: "s", 4: "s", 5: "u", 6: "s", 7: "s", 8: "g"}
_SIGNATURE_FIELD = 8
_FIRST_FIELD_OFFSET = 16
_MAX_DEPTH = 32
_MAX_ARRAY_BYTES = 64 * 1024 * 1024


def check_message(data: bytes) -> None:
    """Raise ValueError unless `data` is exactly one well-formed message."""
    _Walk(data).message()


def end_of_type(signature: str, start: int, depth: int = 0) -> int:
    """Return where the complete type that starts at `start` ends; raises ValueError where there is none."""
    if start >= len(signature) or depth > _MAX_DEPTH:
        raise ValueError(f"signature {signature!r} is incomplete or too deep")
    code = signature[start]
    if code in _FIXED or code in "sogv":
        return start + 1
    if code == "a":
        return _end_of_array(signature, start, depth)
    if code != "(":
        raise ValueError(f"signature {signature!r}: {code!r} is no type")
    position = start + 1
    while signature[position : position + 1] != ")":
        position = end_of_type(signature, position, depth + 1)
    if position == start + 1:
        raise ValueError(f"signature {signature!r} has an empty struct")
    return position + 1


def _end_of_array(signature: str, start: int, depth: int) -> int:
    if signature[start + 1 : start + 2] != "{":
        return end_of_type(signature, start + 1, depth + 1)
    key = signature[start + 2 : start + 3]
    end = end_of_type(signature, start + 3, depth + 1)
    if (key not in _FIXED and key not in ("s", "o", "g")) or signature[end : end + 1] != "}":
        raise ValueError(f"signature {signature!r} has no proper dict entry")
    return end + 1


class _Walk:
    """A walk over one message: `offset` moves, or ValueError is raised."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0
        self.end = len(data)
        self.order = "<" if data[:1] == b"l" else ">"

    def message(self) -> None:
        self.offset = _FIRST_FIELD_OFFSET - 4
        fields_end = _FIRST_FIELD_OFFSET + self._uint32()
        signature = ""
        while self.offset < fields_end:
            signature = self._header_field() or signature
        if self.offset != fields_end:
            raise ValueError("the header's fields overlap the body")
        self._align(8)
        self._values(signature)
        if self.offset != self.end:
            raise ValueError(f"{self.end - self.offset} bytes after the body")

    def _header_field(self) -> str:
        """Step over one field; return the body's signature where the field is that one, else ""."""
        self._align(8)
        number = self._take(1)[0]
        kind = self._signature()
        if _HEADER_FIELDS.get(number) != kind:
            raise ValueError(f"header field {number} of type {kind!r}")
        if number == _SIGNATURE_FIELD:
            return self._signature()
        self._value(kind, 0, 0)
        return ""

    def _values(self, signature: str) -> None:
        position = 0
        while position < len(signature):
            position = self._value(signature, position, 0)

    def _value(self, signature: str, start: int, depth: int) -> int:
        """Step over one value; return where its type ends in `signature`."""
        end = end_of_type(signature, start, depth)
        code = signature[start]
        self._align(_ALIGNMENT[code])
        if code == "b" and self._uint32() > 1:
            raise ValueError("a boolean that is neither 0 nor 1")
        if code in _FIXED and code != "b":
            self._take(_FIXED[code])
        elif code in "so":
            self._string(self._uint32())
        elif code == "g":
            self._signature()
        elif code == "v":
            self._variant(depth)
        elif code == "a":
            self._array(signature, start + 1, depth)
        elif code == "(":
            self._members(signature, start + 1, depth)
        return end

    def _members(self, signature: str, position: int, depth: int) -> None:
        while signature[position] not in ")}":
            position = self._value(signature, position, depth + 1)

    def _variant(self, depth: int) -> None:
        signature = self._signature()
        if end_of_type(signature, 0, depth + 1) != len(signature):
            raise ValueError("a variant of several types")
        self._value(signature, 0, depth + 1)

    def _array(self, signature: str, child: int, depth: int) -> None:
        size = self._uint32()
        self._align(_ALIGNMENT[signature[child]])
        array_end = self.offset + size
        if size > _MAX_ARRAY_BYTES or array_end > self.end:
            raise ValueError(f"an array of {size} bytes")
        if signature[child] in _FIXED and signature[child] != "b" and size % _FIXED[signature[child]] == 0:
            self.offset = array_end
        while self.offset < array_end:
            if signature[child] == "{":
                self._align(8)
                self._members(signature, child + 1, depth + 1)
            else:
                self._value(signature, child, depth + 1)
        if self.offset != array_end:
            raise ValueError("an array's last element is cut off")

    def _string(self, size: int) -> None:
        text = self._take(size)
        if self._take(1) != b"\0" or b"\0" in text:
            raise ValueError("a string that does not end where it says")
        text.decode()

    def _signature(self) -> str:
        size = self._take(1)[0]
        start = self.offset
        self._string(size)
        signature = self.data[start : start + size].decode("ascii")
        position = 0
        while position < len(signature):
            position = end_of_type(signature, position)
        return signature

    def _uint32(self) -> int:
        return int(struct.unpack(f"{self.order}I", self._take(4))[0])

    def _align(self, boundary: int) -> None:
        self._take(-self.offset % boundary)

    def _take(self, size: int) -> bytes:
        taken = self.data[self.offset : self.offset + size]
        if len(taken) != size:
            raise ValueError("the message ends within a value")
        self.offset += size
        return taken
