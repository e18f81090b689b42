"""`make bench`: time and memory of every stage, beside the same work in the usual way, written to docs/benchmark.md."""
