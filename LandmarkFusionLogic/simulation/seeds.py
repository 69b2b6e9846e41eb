"""Which seeds are for what. The ranges are disjoint; training never draws from VALIDATION or TEST."""

from __future__ import annotations

TRAINING = range(10_000_000, 1_000_000_000)
VALIDATION = range(1_000_000, 1_000_256)
TEST = range(2_000_000, 2_000_512)
DEMO = range(1000)
"""Cases to look at, for the demo and for tests."""
