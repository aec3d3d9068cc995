"""Nothing unverified leaves: artifacts run in their real runtimes and are compared with the source model."""

from edgekit.verify.comparison import Subject, Verified
from edgekit.verify.metrics import Verification
from edgekit.verify.random_data import random_samples
from edgekit.verify.scores import find_scores
from edgekit.verify.verification import is_classifier, verify

__all__ = ["Subject", "Verification", "Verified", "find_scores", "is_classifier", "random_samples", "verify"]
