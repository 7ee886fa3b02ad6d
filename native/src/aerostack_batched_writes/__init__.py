"""Sends to many connections in one system call. See README.md."""

from aerostack_batched_writes._native import WriteBatch

__all__ = ["WriteBatch"]
