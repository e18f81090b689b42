"""Links rows of different services into children, and derives the confidential tables to which noise is added."""
