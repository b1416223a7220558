"""Layouts as numbers and words: a sentence read, boxes planned, measured, drawn, and panels; no torch."""
