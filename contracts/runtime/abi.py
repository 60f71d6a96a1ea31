"""A contract's interface: what its annotations promise, for clients, and the converters that hold them to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.runtime.checker import check
from contracts.runtime.codec import MAX_TEXT, decode
from contracts.runtime.errors import ContractError
from contracts.runtime.model import CheckError, Contract, Function
from contracts.runtime.types import BOOL, INT, NONE, STR, Make, Mismatch, Scalar, Type, converter, render

_FLAT: dict[Type, type] = {INT: int, STR: str, BOOL: bool, Scalar("bytes"): bytes}


@dataclass(frozen=True, slots=True)
class FunctionAbi:
    """One @export or @view function; types as text, records spelled out: `Order(account: str, quantity_wh: int)`."""

    name: str
    view: bool
    params: tuple[tuple[str, str], ...]
    returns: str
    doc: str


class NotAContract(ValueError):  # noqa: N818 - reads as what the source is
    """Source that the checker refuses; `errors` says where and why."""

    def __init__(self, errors: list[CheckError]) -> None:
        first = errors[0]
        super().__init__(f"line {first.line}: {first.code}: {first.message}")
        self.errors = errors


def checked(source: bytes) -> Contract:
    """Raises NotAContract."""
    contract, errors = check(source)
    if contract is None:
        raise NotAContract(errors)
    return contract


def contract_abi(source: bytes) -> list[FunctionAbi]:
    """The interface in the order of the source. Raises NotAContract."""
    return [
        FunctionAbi(
            function.name,
            function.kind == "view",
            tuple((name, render(kind)) for name, kind in function.params),
            render(function.returns),
            function.doc,
        )
        for function in checked(source).functions.values()
        if function.kind != "private"
    ]


class Signature:
    """Checks and copies what goes into a function and what comes out."""

    __slots__ = ("converts", "count", "is_view", "is_void", "kinds", "texts", "to_result")

    def __init__(self, function: Function, classes: Mapping[str, Make]) -> None:
        self.is_view = function.kind == "view"
        self.is_void = function.returns == NONE
        self.converts = [converter(kind, classes) for _, kind in function.params]
        self.count = len(self.converts)
        self.to_result = converter(function.returns, {})
        self.kinds = tuple([_FLAT.get(kind) for _, kind in function.params])
        self.texts = [place for place, kind in enumerate(self.kinds) if kind is str or kind is bytes]

    def arguments(self, values: Any) -> list[Any]:
        """Raises ContractError BAD_ARGUMENTS."""
        if not isinstance(values, list | tuple) or len(values) != self.count:
            raise ContractError("BAD_ARGUMENTS")
        try:
            return [convert(value) for convert, value in zip(self.converts, values, strict=True)]
        except Mismatch:
            raise ContractError("BAD_ARGUMENTS") from None

    def decoded(self, data: bytes) -> list[Any]:
        try:
            values = decode(data)
        except ValueError:
            raise ContractError("BAD_ARGUMENTS") from None
        if type(values) is not list or tuple(map(type, values)) != self.kinds:
            return self.arguments(values)
        for place in self.texts:  # what `arguments` does for scalars: an integer that was decoded has at most 256 bits
            if len(values[place]) > MAX_TEXT:
                raise ContractError("BAD_ARGUMENTS")
        return values

    def result(self, value: Any) -> Any:
        """The result with records as tuples, sharing nothing with the contract. Raises ContractError BAD_RESULT."""
        try:
            return self.to_result(value)
        except Mismatch:
            raise ContractError("BAD_RESULT") from None
