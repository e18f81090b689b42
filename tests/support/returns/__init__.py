"""An installation with sharing agreements."""
