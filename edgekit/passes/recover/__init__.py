"""Recovery: train a pruned network to give what the float source gives, without labels (needs TensorFlow)."""

from edgekit.passes.recover.gradients import gradients

__all__ = ["gradients"]
