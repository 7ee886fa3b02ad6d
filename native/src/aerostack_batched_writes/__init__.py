"""Sends to many connections in one system call, and unmasks what they send. See README.md."""

from aerostack_batched_writes._native import WriteBatch, whole_texts

__all__ = ["WriteBatch", "whole_texts"]
