"""Random numbers for the simulator: one seed and one stream's name give one sequence, on every device."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Draw:
    """Draws from distributions, reproducibly.

    Streams with different names are independent, so that a change in how an image looks does not change what is in it.
    The generator lives on the CPU and results move to the device: a GPU gets the same case.
    """

    def __init__(self, seed: int, stream: str) -> None:
        self._sequence = np.random.SeedSequence([seed, zlib.crc32(stream.encode())])
        self._generator = _generator(self._sequence)

    def uniform(self, low: float, high: float) -> float:
        """A number between ``low`` and ``high``."""
        return low + (high - low) * float(torch.rand(1, generator=self._generator, dtype=torch.float64).item())

    def normal(self, mean: float, deviation: float, limit: float = 2.5) -> float:
        """A normally distributed number, clipped at ``limit`` standard deviations."""
        value = float(torch.randn(1, generator=self._generator, dtype=torch.float64).item())
        return mean + deviation * min(max(value, -limit), limit)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform(0.0, 1.0) < probability

    def count(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""
        return min(low + int(self.uniform(0.0, 1.0) * (high - low + 1)), high)

    def direction(self) -> npt.NDArray[np.float64]:
        """(3,) a unit vector, uniform on the sphere."""
        vector = np.array([self.normal(0, 1) for _ in range(3)]) + 1e-9
        return vector / np.linalg.norm(vector)

    def noise(self, shape: tuple[int, ...], device: torch.device | str) -> Tensor:
        """Standard normal noise of ``shape``, float32, on ``device``.

        Each call has a sequence of its own: how many values one takes, which depends on the resolution, changes
        nothing that is drawn later.
        """
        own = _generator(self._sequence.spawn(1)[0])
        return torch.randn(shape, generator=own, dtype=torch.float32).to(device)


def _generator(sequence: np.random.SeedSequence) -> torch.Generator:
    state = sequence.generate_state(1, dtype=np.uint64)
    return torch.Generator("cpu").manual_seed(int(state[0] >> np.uint64(1)))
