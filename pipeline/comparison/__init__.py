"""Finished runs side by side: what of them may be compared, by how much they differ, in tables and pictures."""
