"""Text models behind any OpenAI-compatible address: OpenAI, Ollama, vLLM, llama.cpp, LiteLLM."""

from imagemill.providers.openai.words import OpenAIWords

__all__ = ["OpenAIWords"]
