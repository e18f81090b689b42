"""What checks the supply chain: the scripts of `packaging/supply`, uv, and a stand-in for the service that knows advisories."""
