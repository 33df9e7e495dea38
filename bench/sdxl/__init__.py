"""`make bench-sdxl`: what the SDXL engine costs, against plain diffusers in the same run."""
