"""What a person sees, one module per command's tables; ``terminal`` has what they are printed with."""

from edgekit.console.terminal import print_json, progress

__all__ = ["print_json", "progress"]
