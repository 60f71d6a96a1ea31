"""What Python raises in a contract's own lines, and the code that a sender sees instead. Never the text."""

from __future__ import annotations

# Subclasses stand before their bases.
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (UnboundLocalError, "UNBOUND_NAME"),
    (NameError, "UNBOUND_NAME"),
    (KeyError, "KEY_MISSING"),
    (IndexError, "INDEX_ERROR"),
    (ZeroDivisionError, "ZERO_DIVISION"),
    (OverflowError, "INT_OVERFLOW"),
    (TypeError, "TYPE_ERROR"),
    (AttributeError, "TYPE_ERROR"),
    (ValueError, "VALUE_ERROR"),
)


def code_of(error: Exception) -> str | None:
    """None for what no contract can cause."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)
