"""The Python client: a connection that survives, its channels, live tables, and the HTTP calls of a backend."""
