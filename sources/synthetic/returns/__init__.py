"""The five extracts: each module turns the true children into the rows that one source's senders would hold."""
