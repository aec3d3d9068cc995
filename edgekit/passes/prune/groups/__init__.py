"""Find which channels must go together, op by op: ``rules/`` has one small function per op."""

from edgekit.passes.prune.groups.channels import ChannelGroup, ChannelGroups, Units, WeightUse, WholeChannels
from edgekit.passes.prune.groups.find import find_channel_groups

__all__ = ["ChannelGroup", "ChannelGroups", "Units", "WeightUse", "WholeChannels", "find_channel_groups"]
