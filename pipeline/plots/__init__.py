"""Pictures: arrays in, matplotlib Figure out; nothing here reads, writes or computes results."""
