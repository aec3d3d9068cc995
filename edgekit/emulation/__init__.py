"""Another machine's kernels without that machine: qemu user emulation of the runtimes' own wheels.

``sysroot`` builds the foreign Python once (``debian`` its packages, ``wheels`` its runtimes), ``emulator`` runs the
runtime worker in it on a chosen CPU. Numerics only: the time that an emulator takes says nothing of any device.
"""
