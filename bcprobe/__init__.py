"""bcprobe: worlds, annotators, transformers that predict clicks, and probes of what they know."""

__version__ = "0.1.0"
