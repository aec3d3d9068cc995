"""Nothing unverified leaves: artifacts run in their real runtimes and are compared with the source model."""

from edgekit.graph.scores import find_scores
from edgekit.verification.comparison import Subject, Verified
from edgekit.verification.metrics import Verification
from edgekit.verification.random_data import random_samples
from edgekit.verification.verification import is_classifier, verify

__all__ = ["Subject", "Verification", "Verified", "find_scores", "is_classifier", "random_samples", "verify"]
