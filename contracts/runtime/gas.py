"""What everything costs. One unit is about two nanoseconds of one core for the median construct, and no construct takes three
times that: `python -m devnet.bench_gas` measures it.

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
GENERAL: Final = 35  # an operator whose operands may be text or collections: it looks before it works
ITEM: Final = 4  # x[i], record.field, ctx.field
ELEMENT: Final = 3  # each element of a list, tuple or dict that is written out
METHOD: Final = 25  # a method or builtin, before its costs by size
ITERATION: Final = 5  # each turn of a loop or comprehension
CALL: Final = 20  # a call of a function of the same contract, paid by the function
RECORD: Final = 30  # making a record
REPLACE: Final = 150  # a changed copy of a record, and REPLACED for each field
REPLACED: Final = 20
JOIN: Final = 120  # join, on top of METHOD
DIVIDE: Final = 10  # // and %, on top of ARITHMETIC: their operands may be 256 bits wide
POWER: Final = 60  # **, on top of GENERAL
STATE_READ: Final = 150  # reading or asking for one key
KEY: Final = (
    250  # on top, for a key that is a tuple or record, text beyond 255 characters, or an integer beyond 64 bits
)
STATE_WRITE: Final = 300  # writing or deleting one key
EVENT: Final = 250
CROSS_CALL: Final = 600  # calling another contract
ENTRY: Final = 500  # each call of a transaction or query
HASH: Final = 130  # sha256, address_of
SIGNATURE: Final = 12_000  # ed25519_verify
COLUMN: Final = 100  # column_value; twice that the others of columns, four times column_above

# --- by size
BYTES_PER_UNIT: Final = 4  # text and bytes that are made, joined, cut or searched: one unit for each so many
VALUE_BYTE: Final = 1  # each byte of a stored value, read or written, of an argument, a result or an event
STRUCTURE_BYTE: Final = 6  # on top, where the value is a list, tuple, dict or record: it is put together or taken apart
WEIGHT: Final = 8  # each element that a comparison, a copy or a sort may touch
COLLECTION_WEIGHT: Final = 28  # elements that a collection weighs beside its own elements
ENTRY_WEIGHT: Final = 5  # elements that an entry of a dict weighs
COLUMN_NUMBER: Final = 8  # each number of a column that is read, added, compared or packed
SEARCHED: Final = 32  # looking for text in text: one unit for each so many pairs of their characters, on top
TEXT_PER_ELEMENT: Final = 64  # text inside of what is compared or sorted weighs one element for each so many characters


def sort_cost(count: int, weight: int) -> int:
    """For sorting `count` values that weigh `weight` elements together: n log2 n, from our own formula."""
    return WEIGHT * weight * (count.bit_length() + 1) // 2
