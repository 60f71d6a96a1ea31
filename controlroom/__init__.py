"""The control room: the market and the network in a browser. It reads the chain as any client does, and nothing else."""
