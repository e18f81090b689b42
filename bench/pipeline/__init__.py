"""`make bench`: time and memory of every stage, beside the same work in the usual manner, into docs/benchmark.md."""
