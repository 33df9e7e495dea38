"""Content-addressed storage of artifacts."""
