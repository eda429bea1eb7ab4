"""Label noise: transition matrices, samplers, human and instance-dependent labels, long tails."""
