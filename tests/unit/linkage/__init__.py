"""The linkage model, step by step."""
