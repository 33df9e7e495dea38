"""Packs: many assets in one style. What is ordered, whether it fits together, and the page that shows it.

Values, measures and one adapter of a judge; no Prefect.
"""
