"""How long to look: `pytest tests/fuzz` for a moment, `--hypothesis-profile=fuzz` for as long as it takes."""

from hypothesis import HealthCheck, settings

settings.register_profile("fuzz", max_examples=5_000, deadline=None, suppress_health_check=list(HealthCheck))
