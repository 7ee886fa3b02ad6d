"""Aerostack Realtime measured beside what a team would use instead: `python -m bench` (issue 4).

    load/        the load generator: a process of its own, on a core of its own
    peers/       the servers it is measured beside, each as its own documentation advises for speed
    fanout.py changes.py history.py      our own figures, each runs alone: `python -m bench.fanout`
    curves.py plots.py                   our scale curves and their drawings in docs/

Figures are ratios within one run on one machine; RESULTS.md names the machine, the versions and the date.
"""
