# ruff: noqa: N818 - named for what happened, as callers will read it in an except clause
"""What a client's caller may have to deal with. Each error says who is at fault and what can be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gridbft.records import Receipt

# The door refused these for now only: the same bytes may be admitted a little later.
RETRYABLE_CODES = frozenset({"MEMPOOL_FULL", "SENDER_FULL", "NONCE_TOO_FAR"})


class ClientError(Exception):
    """Whatever can go wrong between a client and its ledger."""


class TransactionRefused(ClientError):
    """A node did not admit the transaction; it changed nothing and never will unless it is sent again."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message

    @property
    def retryable(self) -> bool:
        return self.code in RETRYABLE_CODES


class TransactionFailed(ClientError):
    """The transaction is final, and everything it did was reverted."""

    def __init__(self, code: str, receipt: Receipt) -> None:
        super().__init__(f"{code} in call {receipt.failed_call} of transaction {receipt.tx_id}")
        self.code = code
        self.receipt = receipt


class NotFinal(ClientError):
    """The transaction is not final yet; it may still become so until its expiry height."""

    def __init__(self, tx_id: str, waited_s: float) -> None:
        super().__init__(f"transaction {tx_id} is not final after {waited_s:g} s: ask for its receipt again later")
        self.tx_id = tx_id


class NotFound(ClientError):
    """The node does not know this block or transaction."""


class QueryFailed(ClientError):
    """A view did not answer: the contract's own code, or one of the runtime's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message


class NodeUnavailable(ClientError):
    """No node answered; `address` names the one (or all of them, comma-separated) that was tried."""

    def __init__(self, address: str, detail: str = "", *, timed_out: bool = False) -> None:
        super().__init__(f"no answer from {address}" + (f" ({detail})" if detail else ""))
        self.address = address
        self.timed_out = timed_out  # it was reached, or seemed to be, but its answer did not come in time


class RequestRefused(ClientError):
    """A node answered that the request itself is wrong; `code` is the gRPC status name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class WalletError(ClientError):
    """A key file that cannot be read, is damaged, or would be overwritten."""


class VerificationError(ClientError):
    """What the node said does not follow from what the validators signed: believe nothing of it."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
