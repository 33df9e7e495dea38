"""Google's hosted models, image and text, through the google-genai SDK."""

from imagemill.providers.gemini.connection import Endpoint
from imagemill.providers.gemini.provider import GeminiProvider
from imagemill.providers.gemini.words import GeminiWords

__all__ = ["Endpoint", "GeminiProvider", "GeminiWords"]
