"""Measure artifacts where they will run: one protocol, several executors, one runner per measuring program.

protocol.py    what is run in which order, and when it is enough
statistics.py  medians, percentiles, confidence intervals
state.py       governor, frequencies, temperatures: what a figure depends on
executors/     where: this machine, a device over adb, a board over ssh
runners/       with which program: edgekit's own, or a runtime's benchmark binary
"""
