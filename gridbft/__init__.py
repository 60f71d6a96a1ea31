"""gridbft: what other programs import to speak to a ledger of validators and to verify what it says.

Names load on first use, so that the generated stubs in `gridbft.v1` (which lower rooms import) pull in nothing else.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridbft.client import BlockingClient, Client
    from gridbft.requests import make_call
    from gridbft.verify import Trust
    from gridbft.wallet import Keyring, Wallet

__all__ = ["BlockingClient", "Client", "Keyring", "Trust", "Wallet", "make_call"]

_HOME = {
    "BlockingClient": "gridbft.client",
    "Client": "gridbft.client",
    "Keyring": "gridbft.wallet",
    "Trust": "gridbft.verify",
    "Wallet": "gridbft.wallet",
    "make_call": "gridbft.requests",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gridbft' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
