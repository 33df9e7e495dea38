"""One adapter a file. Adapters do not know each other."""
