"""`make bench`: the one place for numbers, each against its peer in the same run."""
