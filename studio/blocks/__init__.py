"""Techniques on the blocks of a network: step caches."""
