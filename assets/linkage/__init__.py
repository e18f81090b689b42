"""Links rows of services into children, and derives the confidential tables that noise is added to."""
