"""Returns facts to senders about their own rows, under sharing agreements: made here, opened at the sender."""
