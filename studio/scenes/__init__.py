"""The procedural scene world: scenes from a seed, their pictures, their words, and an exact judge."""
