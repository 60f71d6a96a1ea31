"""Why something that came in was not taken: an error as a value, with a sentence that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Codes of transactions that never reach a block. What contracts refuse carries the contract's own code."""

    MALFORMED = "MALFORMED"
    TOO_LARGE = "TOO_LARGE"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    WRONG_SENDER = "WRONG_SENDER"
    WRONG_CHAIN = "WRONG_CHAIN"
    NO_CALLS = "NO_CALLS"
    TOO_MANY_CALLS = "TOO_MANY_CALLS"
    GAS_LIMIT = "GAS_LIMIT"
    EXPIRED = "EXPIRED"
    EXPIRY_TOO_FAR = "EXPIRY_TOO_FAR"
    NONCE_USED = "NONCE_USED"
    NONCE_TOO_FAR = "NONCE_TOO_FAR"
    NONCE_TAKEN = "NONCE_TAKEN"
    ALREADY_FINAL = "ALREADY_FINAL"
    UNKNOWN_CONTRACT = "UNKNOWN_CONTRACT"
    UNKNOWN_FUNCTION = "UNKNOWN_FUNCTION"
    SENDER_FULL = "SENDER_FULL"
    MEMPOOL_FULL = "MEMPOOL_FULL"
    BAD_BLOCK = "BAD_BLOCK"


@dataclass(frozen=True, slots=True)
class Refusal:
    code: Code
    message: str
