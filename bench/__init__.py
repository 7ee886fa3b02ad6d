"""Aerostack Realtime measured next to the alternatives: `python -m bench`.

    load/        the load generator: a process of its own, on a core of its own
    peers/       the servers it is measured beside, each as its own documentation advises for speed
    fanout.py changes.py history.py      figures of this server alone: `python -m bench.fanout`
    curves.py plots.py                   scale curves, and their drawings in docs/

Figures are ratios within one run on one machine; RESULTS.md names the machine, the versions and the date.
"""
