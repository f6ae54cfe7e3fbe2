def backtracks(pattern: str, flags: int) -> str | None:
    return None
