"""An installation with sharing agreements, and the accuracy of its returns."""
