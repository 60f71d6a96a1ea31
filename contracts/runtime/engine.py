"""The runtime that a ledger uses: one call in, its outcome out."""

from __future__ import annotations

from types import TracebackType

from contracts.runtime import gas, integers, ops
from contracts.runtime.api import Call, Outcome, StateView
from contracts.runtime.codes import code_of
from contracts.runtime.compiler import FILE_NAME
from contracts.runtime.errors import ContractError, RuntimeFault
from contracts.runtime.machine import Machine, Verifier
from contracts.runtime.ops import OutOfGas

_tuple = tuple.__new__  # a named tuple made so takes half the time, and one is made for every transaction

# What is raised here, or in a contract's own lines, is the contract's doing.
_OPERATIONS = frozenset({FILE_NAME, *(part.__code__.co_filename for part in (integers.bound, ops.dict_key))})


class MeteredRuntime:
    """Implements `contracts.runtime.api.Runtime`.

    One object runs one call at a time: use one for each thread. Compiled code is shared by all of them. `verifier` is what
    `ed25519_verify` asks: (public key, message, signature) -> bool.
    """

    def __init__(self, verifier: Verifier | None = None) -> None:
        self._machine = Machine(verifier)
        self._running = False

    def execute(self, call: Call, view: StateView, gas_limit: int) -> Outcome:
        """Runs one call. Whatever the call does ends in an Outcome; RuntimeFault is ours and stops the node."""
        if self._running:
            raise RuntimeFault("a runtime runs one call at a time: use one for each thread")
        self._running = True
        machine = self._machine
        contract, function, args, sender, height, time_ms, read_only = call
        machine.begin(view, gas_limit, read_only)
        try:
            machine.charge(gas.ENTRY + gas.VALUE_BYTE * len(args))
            value = machine.enter(contract, function, args, True, sender, sender, height, time_ms)
            result = machine.encoded(value)
            machine.charge(gas.VALUE_BYTE * len(result))
        except ContractError as refusal:
            return Outcome(False, refusal.code, gas_limit - max(machine.cell.cell_contents, 0))
        except OutOfGas:
            return Outcome(False, "OUT_OF_GAS", gas_limit)
        except RuntimeFault:
            raise
        except Exception as error:  # noqa: BLE001 - looked at: a contract's own error has a code, any other stops the node
            return Outcome(False, _code_of(error), gas_limit - max(machine.cell.cell_contents, 0))
        finally:
            self._running = False
        used = gas_limit - machine.cell.cell_contents
        return _tuple(Outcome, (True, "", used, result, tuple(machine.events), machine.overlay))


def _code_of(error: Exception) -> str:
    """The code of an error that the contract's own lines or operations raised; anything else is a fault of ours."""
    code = code_of(error)
    if code is not None and _innermost_file(error.__traceback__) in _OPERATIONS:
        return code
    raise RuntimeFault(f"{type(error).__name__} in the runtime: {error}") from error


def _innermost_file(trace: TracebackType | None) -> str:
    name = ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        trace = trace.tb_next
    return name
