"""Google's hosted image models, through the google-genai SDK."""

from imagemill.providers.gemini.provider import GeminiProvider

__all__ = ["GeminiProvider"]
