"""Game assets: what is asked, how it is worded, how it is judged, and when to stop.

Values, decisions and the adapters of one judge and one refiner; no Prefect, no pixels of its own.
Field names and constants are those of the document (003) unless a docstring says why not.
"""
