"""The streaming pass that replaces identifiers with tokens: the same code at a sender and in the pipeline's intake."""
