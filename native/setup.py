"""Builds the extension in C."""

from setuptools import Extension, setup

NATIVE = "src/aerostack_batched_writes/_native.c"
setup(ext_modules=[Extension("aerostack_batched_writes._native", [NATIVE], extra_compile_args=["-O2"])])
