"""From a text in any language to a prompt in one of three looks (X7); see `route`."""

from imagemill.style_router.route import (
    Branch,
    Keywords,
    RoutedPrompt,
    StyleRouter,
)
from imagemill.style_router.rules import keywords_by_rules

__all__ = ["Branch", "Keywords", "RoutedPrompt", "StyleRouter", "keywords_by_rules"]
