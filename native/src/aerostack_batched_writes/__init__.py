"""Sends to many connections in one system call, and does what every publish repeats. See README.md."""

from aerostack_batched_writes._native import WriteBatch, whole_texts
from aerostack_batched_writes._publishes import event_frame, repeated_data

__all__ = ["WriteBatch", "event_frame", "repeated_data", "whole_texts"]
