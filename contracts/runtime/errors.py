"""How a call ends badly: by a code of the contract's or the language's own, or by a fault of ours that stops the node."""

from __future__ import annotations


class ContractError(Exception):
    """A refusal: everything the call did is reverted, and `code` is what the sender sees."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class RuntimeFault(Exception):  # noqa: N818 - it is a fault of the runtime, not an error of a contract
    """A bug or an exhausted machine on our side. Never a receipt: the node stops and says where it was."""
