"""Commands in their own process, as a user runs them."""

import os
import subprocess
import sys


def moefacts(*arguments, environment=None, **options):
    """Run ``moefacts`` with these arguments, and return the finished process."""
    command = [sys.executable, "-m", "moefacts", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | (environment or {}), timeout=300, **options
    )
