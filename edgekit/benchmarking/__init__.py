"""Measure artifacts where they will run: one protocol, several executors, one runner per measuring program.

benchmark.py    the whole flow, from artifacts and a device to a report
subjects.py     which files are measured, and what their manifests say
protocol.py     what is run in which order; schedule.py: how often and how long
probe.py        whether the device has throttled
aggregation.py  from the trials of all rounds to results; statistics.py: medians and confidence intervals
promises.py     whether as much is accelerated as was promised
state.py        governor, frequencies, temperatures: what a figure depends on; facts.py: what a device is
executors/      where: this machine, a device over adb, a board over ssh
runners/        with which program: edgekit's own, or a runtime's benchmark binary
"""
