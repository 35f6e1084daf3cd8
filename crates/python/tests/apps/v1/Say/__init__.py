from ..shared import words


def main(name: str) -> str:
    return words.greeting(name)
