"""What everything costs. One unit is about five nanoseconds of one core, so a million gas is about five milliseconds.

Static costs are added up by the compiler along its own walk of the source and charged once for each basic block; costs by
size are charged by the operation at run time, before it does its work.
"""

from __future__ import annotations

from typing import Final

# --- static, for each time that a construct runs
NAME: Final = 1  # reading a variable or a constant
ARITHMETIC: Final = 3  # an operator on integers, a comparison, not, and, or, if-else
CHECKED: Final = 3  # on top: the 256-bit check of a result
ASSIGN: Final = 2
GENERAL: Final = 15  # an operator whose operands may be text or collections: it looks before it works
ITEM: Final = 4  # x[i], record.field, ctx.field
ELEMENT: Final = 3  # each element of a list, tuple or dict that is written out
METHOD: Final = 15  # a method or builtin, before its costs by size
ITERATION: Final = 5  # each turn of a loop or comprehension
CALL: Final = 20  # a call of a function of the same contract, paid by the function
RECORD: Final = 30  # making a record
REPLACE: Final = 120  # a changed copy of a record
POWER: Final = 60  # **, on top of GENERAL
STATE_READ: Final = 120  # reading or asking for one key
STATE_WRITE: Final = 300  # writing or deleting one key
EVENT: Final = 150
CROSS_CALL: Final = 600  # calling another contract
ENTRY: Final = 500  # each call of a transaction or query
HASH: Final = 100  # sha256, address_of
SIGNATURE: Final = 12_000  # ed25519_verify

# --- by size
BYTES_PER_UNIT: Final = 4  # text and bytes that are made, joined, cut or searched: one unit for each so many
VALUE_BYTE: Final = 1  # each byte of a stored value, read or written, of an argument, a result or an event
STRUCTURE_BYTE: Final = 4  # on top, where the stored value is a list, tuple, dict or record: it is taken apart
WEIGHT: Final = 8  # each element that a comparison, a copy or a sort may touch
COLLECTION_WEIGHT: Final = 12  # elements that a collection weighs beside its own elements
TEXT_PER_ELEMENT: Final = 64  # text inside of what is compared or sorted weighs one element for each so many characters


def sort_cost(count: int, weight: int) -> int:
    """For sorting `count` values that weigh `weight` elements together: n log2 n, from our own formula."""
    return WEIGHT * weight * (count.bit_length() + 1) // 2
