"""Arrays and plain values in, arrays out: neighbours, projections and clusters."""
