def ask() -> None:
    """todo"""
