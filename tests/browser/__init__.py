"""Pages in a real browser: at every width, by keyboard, on paper. Skipped where there is no Chromium."""
