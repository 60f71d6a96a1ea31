"""How fast a network of real processes is on this machine: `gridbft bench`."""
