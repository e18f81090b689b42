"""Services over published releases, an optional part: the HTTP API with queries, and answers for agents (MCP).

A publisher of bundles, pages and static figure files needs neither.
"""
