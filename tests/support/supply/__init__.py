"""The scripts of `packaging/supply`, uv, copies of the project, and a stand-in for the service of advisories."""
