"""moefacts: how dense and mixture-of-experts language models learn facts, measured."""

__version__ = "0.1.0"
