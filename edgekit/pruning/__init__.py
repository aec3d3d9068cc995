"""Pruning as a user asks for it: budgets, recovery, and what the artifacts were before and after.

settings.py    the flags, checked; requirements.py: what they need, told before any long work
stages.py      the whole of it: budgets, prune, recover
explanation.py why an artifact may have missed its gate
goals.py       what must be met, by what model it costs, and by what measure it is met; meeting.py: until it is
latency.py     the latency of channels, measured in the runtimes; timing.py: how artifacts are timed
comparison.py  figures of the artifacts before and after

How channels are found, priced and removed is in edgekit/passes/prune, how a network is trained in passes/recover.
"""
