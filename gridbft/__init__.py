"""gridbft: what other programs import to speak to a ledger of validators and to verify what it says.

Names load on first use, so that the generated stubs in `gridbft.v1` (which lower rooms import) pull in nothing else.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridbft.client import BlockingClient, Client
    from gridbft.wallet import Wallet

__all__ = ["BlockingClient", "Client", "Wallet"]

_HOME = {"BlockingClient": "gridbft.client", "Client": "gridbft.client", "Wallet": "gridbft.wallet"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gridbft' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
