"""Operations on contracts' values that cost by size. Each charges before it works.

What these functions raise (TypeError, ValueError, IndexError, KeyError, ...) is the contract's doing and becomes a code: see `engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from itertools import islice
from types import CellType
from typing import Any, NoReturn

from contracts.runtime import columns, gas
from contracts.runtime.codec import MAX_DEPTH, MAX_ITEMS, MAX_TEXT
from contracts.runtime.errors import ContractError
from contracts.runtime.integers import bit_or, bound, divide, modulo, power, require_int, require_str, shift_left

KEY_BOUND = 1 << 60  # beyond, chosen integers could share one hash and make a dict crawl
_SCALARS = frozenset({int, bool, str, bytes, type(None)})
_ITERABLE = frozenset({list, tuple, str, bytes, range})
_ITERATORS = frozenset(
    {enumerate, zip, type(reversed([])), type(reversed(())), type(reversed(range(1))), type(reversed(range(1 << 70)))}
)


class OutOfGas(Exception):  # noqa: N818 - reads as what happened
    """The call has used all it was given. Contracts cannot catch anything, so this always reaches the engine."""


def out_of_gas() -> NoReturn:
    raise OutOfGas


def dict_key(key: Any) -> Any:
    """Keys whose hashes nobody can make collide: text and bytes are hashed with a secret, small integers as themselves."""
    kind = type(key)
    if kind is str or kind is bytes or kind is bool or (kind is int and -KEY_BOUND < key < KEY_BOUND):
        return key
    raise ContractError("KEY_TYPE")


def _text(value: Any) -> Any:
    if len(value) > MAX_TEXT:
        raise ContractError("VALUE_TOO_LARGE")
    return value


class Operations:
    """The operations of one machine; `cell` holds the gas that is left, and is the variable that contracts' code counts down."""

    def __init__(self, cell: CellType) -> None:
        self.cell = cell

    def table(self) -> dict[str, Callable[..., Any]]:
        """Every operation under the name that lowered code calls it by."""
        plain: dict[str, Callable[..., Any]] = {
            "_out": out_of_gas,
            "_bound": bound,
            "_int": require_int,
            "_str": require_str,
            "_key": dict_key,
            "abs": abs,
            "len": len,
            "ord": ord,
            "range": range,
            "bool": bool,
            "_pow": power,
            "_shl": shift_left,
            "_mod": modulo,
            "_or": bit_or,
            "_divmod": divide,
        }
        methods = {name: getattr(self, name) for name in dir(self) if name.startswith("do_")} | {"do_weigh": self.weigh}
        return {**plain, **{name.removeprefix("do"): method for name, method in methods.items()}}

    # --- charging

    def charge(self, units: int) -> None:
        left = self.cell.cell_contents - units
        self.cell.cell_contents = left
        if left < 0:
            raise OutOfGas

    def do_tick(self, units: int) -> bool:
        self.charge(units)
        return True

    def do_span(self, turns: range, units: int) -> range:
        """Pays for all turns of a loop."""
        try:
            count = len(turns)
        except OverflowError:
            raise OutOfGas from None
        self.charge(count * units)
        return turns

    def weigh(self, value: Any) -> int:
        """Charges for every element inside the value, shared parts each time, and says how many there are.

        Whoever walks the value afterwards does no more steps than were paid. Raises VALUE_TOO_DEEP.
        """
        kind = type(value)
        if kind in _SCALARS:
            return 1
        return self._weigh(value, 0)

    def _weigh(self, value: Any, depth: int) -> int:
        if depth >= MAX_DEPTH:
            raise ContractError("VALUE_TOO_DEEP")
        kind = type(value)
        if kind is range:
            return 1
        weight = gas.COLLECTION_WEIGHT + (gas.ENTRY_WEIGHT if kind is dict else 1) * len(value)
        self.charge(gas.WEIGHT * weight)
        inside = text = 0
        for item in value.values() if kind is dict else value:
            item_kind = type(item)
            if item_kind is str or item_kind is bytes:
                text += len(item) // gas.TEXT_PER_ELEMENT
            elif item_kind not in _SCALARS:
                inside += self._weigh(item, depth + 1)
        if text:
            self.charge(gas.WEIGHT * text)
        return weight + text + inside

    # --- comparing

    def do_eq(self, a: Any, b: Any) -> bool:
        self.weigh(a)
        return bool(a == b)

    def do_ne(self, a: Any, b: Any) -> bool:
        self.weigh(a)
        return bool(a != b)

    def do_lt(self, a: Any, b: Any) -> bool:
        self.weigh(a)
        return bool(a < b)

    def do_le(self, a: Any, b: Any) -> bool:
        self.weigh(a)
        return bool(a <= b)

    def do_gt(self, a: Any, b: Any) -> bool:
        self.weigh(a)
        return bool(a > b)

    def do_ge(self, a: Any, b: Any) -> bool:
        self.weigh(a)
        return bool(a >= b)

    def do_in(self, item: Any, holder: Any) -> bool:
        kind = type(holder)
        if kind is dict:
            return dict_key(item) in holder
        if kind is range:
            return require_int(item) in holder
        if kind is str or kind is bytes:
            self.charge((len(holder) + 1) // gas.BYTES_PER_UNIT)
            if type(item) is kind:  # the search may look at every pair of characters
                self.charge(len(holder) * len(item) // gas.SEARCHED)
        elif type(item) in _SCALARS and isinstance(holder, list | tuple):
            text = len(item) // gas.TEXT_PER_ELEMENT if isinstance(item, str | bytes) else 0
            self.charge(gas.WEIGHT * (2 + len(holder) * (1 + text)))
        else:
            self.weigh(holder)
        return bool(item in holder)

    def do_not_in(self, item: Any, holder: Any) -> bool:
        return not self.do_in(item, holder)

    # --- adding and repeating

    def do_add(self, a: Any, b: Any) -> Any:
        kind = type(a)
        if kind is int:
            return bound(a + b)
        if kind is str or kind is bytes:
            if type(b) is kind:
                self.charge((len(a) + len(b)) // gas.BYTES_PER_UNIT)
            return _text(a + b)
        if kind is list or isinstance(a, tuple):
            self._room(a, b)
        return a + b

    def do_grow(self, a: Any, b: Any) -> Any:
        if type(a) is not list:
            return self.do_add(a, b)
        items = self.do_list(b)
        if len(a) + len(items) > MAX_ITEMS:
            raise ContractError("VALUE_TOO_LARGE")
        a += items
        return a

    def _room(self, a: Any, b: Any) -> None:
        """Pays for a new collection of both."""
        if type(b) is not type(a) and not (isinstance(a, tuple) and isinstance(b, tuple)):
            raise ContractError("TYPE_ERROR")
        size = len(a) + len(b)
        if size > MAX_ITEMS:
            raise ContractError("VALUE_TOO_LARGE")
        self.charge(gas.WEIGHT * size)

    def do_mul(self, a: Any, b: Any) -> Any:
        if type(b) in (str, bytes, list) or isinstance(b, tuple):
            a, b = b, a
        if type(a) in (str, bytes, list) or isinstance(a, tuple):
            count = require_int(b)
            size = len(a) * max(count, 0)
            if size > (MAX_TEXT if type(a) in (str, bytes) else MAX_ITEMS):
                raise ContractError("VALUE_TOO_LARGE")
            self.charge(gas.WEIGHT * size)
            return a * count
        return bound(require_int(a) * require_int(b))

    # --- items

    def do_item(self, holder: Any, key: Any) -> Any:
        return holder[dict_key(key)] if type(holder) is dict else holder[key]

    def do_store(self, value: Any, holder: Any, key: Any) -> None:
        kind = type(holder)
        if kind is dict:
            holder[dict_key(key)] = value
        elif kind is list:
            holder[require_int(key)] = value
        else:
            raise ContractError("TYPE_ERROR")

    def do_delete(self, holder: Any, key: Any) -> None:
        if type(holder) is list:
            self.charge(len(holder) // gas.BYTES_PER_UNIT)
            del holder[require_int(key)]
        elif type(holder) is dict:
            del holder[dict_key(key)]
        else:
            raise ContractError("TYPE_ERROR")

    def do_slice(self, holder: Any, start: Any, stop: Any) -> Any:
        if type(holder) is range or (type(holder) not in _ITERABLE and not isinstance(holder, tuple)):
            raise ContractError("TYPE_ERROR")
        first, last, _ = slice(start, stop).indices(len(holder))
        count = max(0, last - first)
        self.charge(count // gas.BYTES_PER_UNIT if type(holder) in (str, bytes) else gas.WEIGHT * count)
        return holder[start:stop]

    # --- iterating

    def do_iter(self, value: Any) -> Any:
        """The value itself, or a dict's keys as they are now."""
        if type(value) is dict:
            return self._keys(value)
        if type(value) in _ITERABLE or type(value) in _ITERATORS or isinstance(value, tuple):
            return value
        raise ContractError("TYPE_ERROR")

    def _keys(self, value: dict[Any, Any]) -> list[Any]:
        self.charge(gas.WEIGHT * len(value))
        return list(value)

    def do_enumerate(self, value: Any, start: Any = 0) -> Iterable[tuple[int, Any]]:
        return enumerate(self.do_iter(value), require_int(start))

    def do_zip(self, strict: bool, *columns: Any) -> Iterable[tuple[Any, ...]]:
        return zip(*[self.do_iter(column) for column in columns], strict=strict)

    def do_reversed(self, value: Any) -> Iterable[Any]:
        backwards: Iterable[Any] = reversed(self.do_iter(value))
        return backwards

    def _collect(self, values: Any) -> list[Any]:
        """A new list of what an iterable gives, paid element by element."""
        kind = type(values)
        if kind in _ITERABLE or kind is dict or isinstance(values, tuple):
            size = self._length(values)
            self.charge(gas.WEIGHT * size)
            return list(values)
        collected: list[Any] = []
        if kind not in _ITERATORS:
            raise ContractError("TYPE_ERROR")
        while len(collected) <= MAX_ITEMS:
            some = list(islice(values, 64))  # paid before the next ones are made
            self.charge(2 * gas.WEIGHT * (1 + len(some)))
            if not some:
                return collected
            collected += some
        raise ContractError("VALUE_TOO_LARGE")

    def _length(self, values: Any) -> int:
        try:
            size = len(values)
        except OverflowError:
            size = MAX_ITEMS + 1
        if size > MAX_ITEMS:
            raise ContractError("VALUE_TOO_LARGE")
        return size

    def do_list(self, values: Any = ()) -> list[Any]:
        return self._collect(values)

    def do_tuple(self, values: Any = ()) -> tuple[Any, ...]:
        return tuple(self._collect(values))

    def do_dict(self, values: Any = ()) -> dict[Any, Any]:
        if type(values) is dict:
            self.charge(gas.WEIGHT * len(values))
            return dict(values)
        pairs: dict[Any, Any] = {}
        items = self._collect(values)
        self.charge(gas.ENTRY_WEIGHT * gas.WEIGHT * len(items))
        for pair in items:
            key, value = pair
            pairs[dict_key(key)] = value
        return pairs

    # --- folding

    def do_sum(self, values: Any) -> int:
        total = 0
        for item in self._collect(values):
            total += require_int(item)
        return bound(total)

    def do_all(self, values: Any) -> bool:
        return all(self._collect(values))

    def do_any(self, values: Any) -> bool:
        return any(self._collect(values))

    def do_min(self, *values: Any) -> Any:
        return min(self._comparable(values))

    def do_max(self, *values: Any) -> Any:
        return max(self._comparable(values))

    def _comparable(self, values: tuple[Any, ...]) -> Any:
        if len(values) == 2 and type(values[0]) is int and type(values[1]) is int:
            return values
        items = self._collect(values[0]) if len(values) == 1 else values
        self.weigh(items)
        return items

    def do_sorted(self, values: Any, reverse: bool = False) -> list[Any]:
        items = self._collect(values)
        weight = self.weigh(items)
        self.charge(gas.sort_cost(len(items), weight))
        return sorted(items, reverse=reverse)

    # --- text and hashes

    def do_to_int(self, value: Any) -> int:
        """An integer, a bool, or 1 to 78 decimal digits with at most a minus before them."""
        if type(value) is int or type(value) is bool:
            return int(value)
        digits = require_str(value).removeprefix("-")
        if not 0 < len(digits) <= 78 or not digits.isascii() or not digits.isdecimal():
            raise ContractError("VALUE_ERROR")
        self.charge(2 * len(digits))
        return bound(int(value))

    def do_to_str(self, value: Any) -> str:
        """Of an integer, a bool or text."""
        if type(value) is str:
            return value
        self.charge(4 * gas.METHOD)
        return str(require_int(value))

    def do_sha256(self, data: Any) -> bytes:
        if type(data) is not bytes:
            raise ContractError("TYPE_ERROR")
        self.charge(len(data) // 8)
        return sha256(data).digest()

    def do_address_of(self, public_key: Any) -> str:
        return self.do_sha256(public_key)[:20].hex()

    # --- columns

    def _column(self, column: Any) -> bytes:
        """Pays for looking at all of its numbers."""
        data = columns.require_column(column)
        self.charge(gas.COLUMN_NUMBER * (len(data) // columns.NUMBER_BYTES))
        return data

    def do_column_value(self, column: Any, place: Any) -> int:
        return columns.value_at(columns.require_column(column), place)

    def do_column_values(self, column: Any) -> list[int]:
        return list(columns.values_of(self._column(column)))

    def do_column_sum(self, column: Any) -> int:
        return sum(columns.values_of(self._column(column)))

    def do_column_above(self, column: Any, limits: Any) -> list[int]:
        return columns.above(self._column(column), self._column(limits))

    def do_pack_column(self, values: Any) -> bytes:
        items = self._collect(values)
        self.charge(gas.COLUMN_NUMBER * len(items))
        return columns.packed(items)

    def do_m_encode(self, text: Any) -> bytes:
        self.charge(len(require_str(text)) // gas.BYTES_PER_UNIT)
        return bytes(_text(text.encode()))

    def do_m_hex(self, data: Any) -> str:
        if type(data) is not bytes:
            raise ContractError("TYPE_ERROR")
        self.charge(len(data) // gas.BYTES_PER_UNIT)
        return str(_text(data.hex()))

    def do_m_startswith(self, text: Any, start: Any) -> bool:
        return bool(_like(text, start).startswith(start))

    def do_m_endswith(self, text: Any, end: Any) -> bool:
        return bool(_like(text, end).endswith(end))

    def do_m_join(self, separator: Any, parts: Any) -> str:
        items = self._collect(parts)
        self.charge(2 * gas.WEIGHT * len(items))
        size = sum(len(require_str(item)) + len(require_str(separator)) for item in items)
        if size > 2 * MAX_TEXT:
            raise ContractError("VALUE_TOO_LARGE")
        self.charge(size // gas.BYTES_PER_UNIT)
        return str(_text(separator.join(items)))

    # --- lists and dicts

    def do_m_extend(self, items: Any, more: Any) -> None:
        if type(items) is not list:
            raise ContractError("TYPE_ERROR")
        self.do_grow(items, more)

    def do_m_insert(self, items: Any, index: Any, item: Any) -> None:
        if type(items) is not list:
            raise ContractError("TYPE_ERROR")
        self.charge(len(items) // gas.BYTES_PER_UNIT)
        items.insert(require_int(index), item)

    def do_m_pop(self, holder: Any, *args: Any) -> Any:
        if type(holder) is list and len(args) < 2:
            if args:
                self.charge(len(holder) // gas.BYTES_PER_UNIT)
            return holder.pop(*[require_int(index) for index in args])
        if type(holder) is not dict or not args:
            raise ContractError("TYPE_ERROR")
        return holder.pop(dict_key(args[0]), *args[1:])

    def do_m_get(self, holder: Any, key: Any, default: Any = None) -> Any:
        if type(holder) is not dict:
            raise ContractError("TYPE_ERROR")
        return holder.get(dict_key(key), default)

    def do_m_keys(self, holder: Any) -> list[Any]:
        return self._keys(_dict(holder))

    def do_m_values(self, holder: Any) -> list[Any]:
        self.charge(gas.WEIGHT * len(_dict(holder)))
        return list(holder.values())

    def do_m_items(self, holder: Any) -> list[Any]:
        self.charge(2 * gas.WEIGHT * len(_dict(holder)))
        return list(holder.items())

    def do_replace(self, record: Any, fields: dict[str, Any]) -> Any:
        if not isinstance(record, tuple) or not set(fields) <= set(getattr(type(record), "_fields", ())):
            raise ContractError("TYPE_ERROR")
        return record._replace(**fields)  # type: ignore[attr-defined]


def _dict(holder: Any) -> dict[Any, Any]:
    if type(holder) is not dict:
        raise ContractError("TYPE_ERROR")
    return holder


def _like(text: Any, part: Any) -> Any:
    if type(text) not in (str, bytes) or type(part) is not type(text):
        raise ContractError("TYPE_ERROR")
    return text
