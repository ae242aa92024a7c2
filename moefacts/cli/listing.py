def list_everything() -> None:
    """todo"""
