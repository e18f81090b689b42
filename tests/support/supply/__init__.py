"""The scripts of `packaging/supply`, uv, copies of the project, and a fake advisory service."""
