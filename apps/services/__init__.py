"""Local services that a laptop runs instead of renting them."""
