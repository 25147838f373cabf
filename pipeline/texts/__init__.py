"""Texts to compare images with: where they come from, how they are read, counted and gathered."""
