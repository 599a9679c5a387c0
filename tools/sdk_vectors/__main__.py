"""Writes the vectors, or with `--check` says which files are not what the Python SDK does now."""

import argparse
import sys
from pathlib import Path

from tools.sdk_vectors.files import made

DIRECTORY = Path(__file__).parents[2] / "sdk" / "vectors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if a file would change")
    check = parser.parse_args().check
    changed = [name for name, text in made().items() if not _is(DIRECTORY / name, text)]
    for name in [] if check else changed:
        (DIRECTORY / name).write_text(made()[name])
    if changed:
        print("changed:", *changed)  # noqa: T201  # a program for the terminal
    if check and changed:
        sys.exit(1)


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    main()
