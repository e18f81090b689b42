"""Extracts in: one pass over each identifiable file, judged, promoted and reported on."""
