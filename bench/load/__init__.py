"""The load generator. Started as `python -m bench.load`, one JSON line in, one JSON line out (see job.py).

Every subscriber of a channel must receive the same stream, so the generator parses the stream once, from
whichever subscriber is ahead, and compares all others with it byte by byte in C (stream.py, subscriber.py).
Loss, repetition, reordering and damage are thus seen on every connection at a cost per read, not per message.
"""
