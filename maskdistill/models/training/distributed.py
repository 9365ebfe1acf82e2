"""The processes that train one model together, as ``torchrun`` or ``accelerate launch`` starts them; often just one."""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """One process's view of all of them. With one process every method returns at once."""

    rank: int
    size: int
    device: torch.device  # of this process
    state: Any = None  # accelerate's PartialState, if there are several

    @classmethod
    def join(cls, device: torch.device) -> Self:
        """Meet the other processes of the launcher, if there are any; each of them gets a GPU of its own.

        Args:
            device: Where the model lies. It stays there if there is but one process.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
            return cls(0, 1, device)
        from accelerate import PartialState

        state = PartialState(cpu=device.type == "cpu")
        return cls(state.process_index, state.num_processes, state.device, state)

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and reports progress."""
        return self.rank == 0

    def share_of(self, indices: Sequence[int]) -> list[int]:
        """This process's part of a batch. All parts are equally long: photos are taken twice to fill the last row."""
        length = math.ceil(len(indices) / self.size)
        return [indices[i % len(indices)] for i in range(self.rank, length * self.size, self.size)]

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over all processes, in one message."""
        if self.size == 1:
            return
        from accelerate.utils import reduce

        flat = reduce(torch.cat([tensor.reshape(-1).float() for tensor in tensors]), reduction="mean")
        self._scatter(flat, tensors)

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by that of the first process."""
        if self.size == 1:
            return
        from accelerate.utils import broadcast

        for tensor in tensors:
            tensor.copy_(broadcast(tensor.clone()))

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.state is not None:
            self.state.wait_for_everyone()

    @staticmethod
    def _scatter(flat: Tensor, tensors: Sequence[Tensor]) -> None:
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))
