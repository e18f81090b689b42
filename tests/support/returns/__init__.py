"""An installation with sharing agreements, and how right its returns are."""
