"""Which contracts stand on the chain, and what each of them can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from chain import governance
from chain.refusal import Code, Refusal
from chain.tx import Tx
from contracts.runtime.abi import FunctionAbi, contract_abi
from contracts.runtime.api import StateView
from contracts.runtime.codec import decode
from contracts.runtime.keys import CONTRACTS_KEY, code_key, source_key

GOVERNANCE_FUNCTIONS = frozenset(f.name for f in governance.ABI if not f.view)


@dataclass(frozen=True, slots=True)
class ContractInfo:
    name: str
    version: int
    code_hash: bytes
    functions: tuple[FunctionAbi, ...]


@lru_cache(maxsize=256)
def _interface(source: bytes) -> tuple[FunctionAbi, ...]:
    return tuple(contract_abi(source))


class Directory:
    """Reads interfaces out of the state; a source is parsed once."""

    def __init__(self, view: StateView) -> None:
        self._view = view
        self._exports: dict[bytes, frozenset[str]] = {}  # by a contract's code record
        self._known: set[tuple[str, str]] = set()  # what was called and stands, since the state changed last

    def contracts(self) -> tuple[ContractInfo, ...]:
        names = self._view.get(CONTRACTS_KEY)
        found = [self._info(name) for name in (decode(names) if names else [])]
        own = ContractInfo(governance.NAME, 1, b"", governance.ABI)
        return (*(info for info in found if info is not None), own)

    def _info(self, name: str) -> ContractInfo | None:
        raw = self._view.get(code_key(name))
        if raw is None:
            return None
        version, code_hash, _ = decode(raw)
        return ContractInfo(name, version, code_hash, self._functions(code_hash))

    def _functions(self, code_hash: bytes) -> tuple[FunctionAbi, ...]:
        source = self._view.get(source_key(code_hash))
        assert source is not None, "the state holds the source of every contract"
        return _interface(source)

    def _exports_of(self, code_record: bytes) -> frozenset[str]:
        exports = self._exports.get(code_record)
        if exports is None:
            code_hash = decode(code_record)[1]
            exports = frozenset(f.name for f in self._functions(code_hash) if not f.view)
            self._exports[code_record] = exports
        return exports

    def state_changed(self) -> None:
        """To be told after every block: contracts come and change by governance."""
        self._known.clear()

    def unknown_call(self, tx: Tx) -> Refusal | None:
        known = self._known
        for call in tx.calls:
            if (call.contract, call.function) in known:
                continue
            if call.contract == governance.NAME and call.function in GOVERNANCE_FUNCTIONS:
                continue
            raw = self._view.get(code_key(call.contract)) if call.contract.isascii() else None
            if raw is None:
                return Refusal(Code.UNKNOWN_CONTRACT, f"there is no contract {call.contract!r}: list them first")
            exports = self._exports_of(raw)
            if call.function not in exports:
                names = ", ".join(sorted(exports))
                return Refusal(
                    Code.UNKNOWN_FUNCTION, f"{call.contract} has no function {call.function!r}; it has {names}"
                )
            known.add(call[:2])
        return None
