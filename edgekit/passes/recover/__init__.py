"""Recovery: train a pruned network to give what the float source gives, without labels (needs TensorFlow)."""
