"""A small interpreter for the BPF programs that filter devices: pure, bounded, and honest about what it cannot do.

Such programs (systemd's bpf-devices.c, runc's devicefilter, crun's ebpf.c, libnvidia-container's) only compare the
fields of their context. What is outside of that subset (calls, maps, the stack) makes the answer unknown, not a guess.
Instruction set: Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_STEPS = 1 << 16
"""Device programs have some ten instructions a rule and no loops."""

_MASK = {32: 2**32 - 1, 64: 2**64 - 1}
_LDX, _LD, _ALU, _JMP, _JMP32, _ALU64 = 0x01, 0x00, 0x04, 0x05, 0x06, 0x07
_CLASS_MASK = 0x07
_FROM_REGISTER = 0x08
_LD_IMM64 = 0x18
_LOADS = {0x61: "=I", 0x69: "=H", 0x71: "=B"}
"""BPF_LDX | BPF_MEM of a word, a half word, a byte."""

_NEG, _MOV, _ARSH = 0x80, 0xB0, 0xC0
_JA, _CALL, _EXIT = 0x00, 0x80, 0x90
_CONTEXT_REGISTER = 1
_CONTEXT = object()
"""What r1 points to at the start: may be copied and loaded from, not calculated with."""

_ALU_OPERATIONS: dict[int, Callable[[int, int], int]] = {
    0x00: lambda a, b: a + b,
    0x10: lambda a, b: a - b,
    0x20: lambda a, b: a * b,
    0x30: lambda a, b: a // b if b else 0,
    0x40: lambda a, b: a | b,
    0x50: lambda a, b: a & b,
    0x90: lambda a, b: a % b if b else a,
    0xA0: lambda a, b: a ^ b,
}
_SHIFTS: dict[int, Callable[[int, int], int]] = {0x60: lambda a, b: a << b, 0x70: lambda a, b: a >> b}
_COMPARISONS: dict[int, Callable[[int, int], bool]] = {
    0x10: lambda a, b: a == b,
    0x20: lambda a, b: a > b,
    0x30: lambda a, b: a >= b,
    0x40: lambda a, b: bool(a & b),
    0x50: lambda a, b: a != b,
    0xA0: lambda a, b: a < b,
    0xB0: lambda a, b: a <= b,
}
_SIGNED: dict[int, Callable[[int, int], bool]] = {
    0x60: lambda a, b: a > b,
    0x70: lambda a, b: a >= b,
    0xC0: lambda a, b: a < b,
    0xD0: lambda a, b: a <= b,
}

Instruction = tuple[int, int, int, int, int]
"""Opcode, destination, source, offset, immediate (signed)."""


class _UnknownError(Exception):
    """The program does what this interpreter does not do."""


def decode(code: bytes) -> tuple[Instruction, ...]:
    """Return the instructions in `code`; trailing bytes that make up no whole instruction are left out."""
    whole = code[: len(code) - len(code) % 8]
    return tuple(
        (opcode, registers & 0x0F, registers >> 4, offset, immediate)
        for opcode, registers, offset, immediate in struct.iter_unpack("=BBhi", whole)
    )


def run(program: tuple[Instruction, ...], context: bytes) -> int | None:
    """Return what `program` returns (r0, 32 bits) for `context`, or None where that cannot be told."""
    machine = _Machine(program, context)
    try:
        return machine.run()
    except (_UnknownError, IndexError):
        return None


class _Machine:
    def __init__(self, program: tuple[Instruction, ...], context: bytes) -> None:
        self._program = program
        self._context = context
        self._registers: list[object] = [None] * 16
        self._registers[_CONTEXT_REGISTER] = _CONTEXT
        self._at = 0

    def run(self) -> int:
        for _ in range(MAX_STEPS):
            if self._at < 0:
                break
            instruction = self._program[self._at]
            self._at += 1
            if instruction[0] == _JMP | _EXIT:
                return self._number(0) & _MASK[32]
            self._step(instruction)
        raise _UnknownError

    def _step(self, instruction: Instruction) -> None:
        kind = instruction[0] & _CLASS_MASK
        if kind in (_ALU, _ALU64):
            self._calculate(instruction, 64 if kind == _ALU64 else 32)
        elif kind in (_JMP, _JMP32):
            self._jump(instruction, 64 if kind == _JMP else 32)
        elif kind == _LDX:
            self._load(instruction)
        elif instruction[0] == _LD_IMM64 and instruction[2] == 0:
            low, high = instruction[4] & _MASK[32], self._program[self._at][4] & _MASK[32]
            self._registers[instruction[1]] = high << 32 | low
            self._at += 1
        else:
            raise _UnknownError

    def _load(self, instruction: Instruction) -> None:
        opcode, destination, source, offset, _ = instruction
        form = _LOADS.get(opcode)
        if form is None or self._registers[source] is not _CONTEXT:
            raise _UnknownError
        if not 0 <= offset <= len(self._context) - struct.calcsize(form):
            raise _UnknownError
        self._registers[destination] = struct.unpack_from(form, self._context, offset)[0]

    def _calculate(self, instruction: Instruction, bits: int) -> None:
        opcode, destination, source, offset, immediate = instruction
        operation = opcode & 0xF0
        if operation == _MOV and opcode == _ALU64 | _MOV | _FROM_REGISTER and offset == 0:
            self._registers[destination] = self._registers[source]  # also copies the pointer to the context
            return
        if offset:  # signed division, sign-extending moves
            raise _UnknownError
        right = self._number(source) if opcode & _FROM_REGISTER else immediate
        left = 0 if operation == _MOV else self._number(destination)
        self._registers[destination] = _result(operation, left & _MASK[bits], right & _MASK[bits], bits) & _MASK[bits]

    def _jump(self, instruction: Instruction, bits: int) -> None:
        opcode, destination, source, offset, immediate = instruction
        operation = opcode & 0xF0
        if operation == _JA:
            self._at += offset if bits == 64 else immediate  # noqa: PLR2004 -- bits of a register
            return
        right = self._number(source) if opcode & _FROM_REGISTER else immediate
        if _compare(operation, self._number(destination) & _MASK[bits], right & _MASK[bits], bits):
            self._at += offset

    def _number(self, register: int) -> int:
        value = self._registers[register]
        if not isinstance(value, int):
            raise _UnknownError
        return value


def _result(operation: int, left: int, right: int, bits: int) -> int:
    if operation == _MOV:
        return right
    if operation == _NEG:
        return -left
    if operation == _ARSH:
        return _signed(left, bits) >> (right & (bits - 1))
    if operation in _SHIFTS:
        return _SHIFTS[operation](left, right & (bits - 1))
    if operation in _ALU_OPERATIONS:
        return _ALU_OPERATIONS[operation](left, right)
    raise _UnknownError


def _compare(operation: int, left: int, right: int, bits: int) -> bool:
    if operation in _COMPARISONS:
        return _COMPARISONS[operation](left, right)
    if operation in _SIGNED:
        return _SIGNED[operation](_signed(left, bits), _signed(right, bits))
    raise _UnknownError  # a call, above all


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
