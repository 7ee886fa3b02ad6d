"""Builds the extensions in C."""

from setuptools import Extension, setup

PACKAGE = "aerostack_batched_writes"


def extension(name: str) -> Extension:
    return Extension(f"{PACKAGE}.{name}", [f"src/{PACKAGE}/{name}.c"], extra_compile_args=["-O2"])


setup(ext_modules=[extension("_native"), extension("_publishes")])
