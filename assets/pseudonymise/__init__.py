"""Replaces identifiers with tokens in one streaming pass. Senders and the pipeline's intake run the same code."""
