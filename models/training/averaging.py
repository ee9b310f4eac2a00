"""The running mean of a network's weights, which is what a fit returns."""

from __future__ import annotations

from torch import Tensor, nn


class RunningMean:
    """Weights and buffers of a network, averaged over the steps of a fit.

    Args:
        network: In the state that the mean begins with.
        decay: What stays of the mean at each step; 0 for the weights of the last step.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    def follow(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step, which count from 1."""
        # Shorter memory at the start, so that the random weights are soon forgotten.
        decay = min(self._decay, step / (step + 10))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)

    def on_cpu(self) -> dict[str, Tensor]:
        """Return a copy on the CPU."""
        return {name: value.detach().cpu().clone() for name, value in self.state.items()}
