"""Writes the folder of synthetic children beside a release. Optional: no bundle and no page needs it."""
