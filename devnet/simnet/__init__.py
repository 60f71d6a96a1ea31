"""A simulated network: the production replica, store, log and signer under a virtual clock, network and disk."""
