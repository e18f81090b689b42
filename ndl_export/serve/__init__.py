"""Services over published releases, an optional part: the HTTP API with queries, and answers for agents (MCP).

Neither writes a file. Whoever publishes only bundles, pages and static figure documents runs neither.
"""
