"""Training a CLIP: what is made smaller, from what, on which images, and the folder that comes out."""
