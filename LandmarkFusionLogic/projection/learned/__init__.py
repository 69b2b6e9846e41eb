"""SOPI (Chen 2023): the network that finds a first pose, the networks whose features refine it, and their training."""
