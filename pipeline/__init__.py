"""What is done with vectors: from a data set to geometry, clusters, scores, pictures and a report."""
