def analyze() -> None:
    """todo"""
