"""Sends to many connections in one system call, and does what every publish repeats. See README.md."""

from aerostack_batched_writes._native import WriteBatch, whole_texts
from aerostack_batched_writes._publishes import ack_frame, published_frame, repeated_publishes

__all__ = ["WriteBatch", "ack_frame", "published_frame", "repeated_publishes", "whole_texts"]
