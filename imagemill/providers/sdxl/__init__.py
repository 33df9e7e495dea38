"""Stable Diffusion XL on a GPU of one's own. Importing anything here never imports torch."""
