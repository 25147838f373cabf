"""What a run says while it works and at its end."""

from pipeline.console.say import Say

__all__ = ["Say"]
