def generate() -> None:
    """todo"""
