"""Where things lie below a home folder, and how they are written, locked and spoken of. Imports no stage."""
