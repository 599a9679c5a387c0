"""All files of vectors, as text."""

import json
from functools import cache
from typing import Any

from tools.sdk_vectors import challenges, credentials, deadlines, events, feed, introspection, shapes


@cache
def made() -> dict[str, str]:
    """The text of each file, by its name."""
    files: dict[str, Any] = {
        "tokens.json": shapes.tokens(),
        "digests.json": shapes.digests(),
        "events.json": events.events(),
        "feed.json": feed.transcripts(),
        "deadlines.json": deadlines.deadlines(),
        "introspection.json": introspection.outcomes(),
        "challenges.json": challenges.challenges(),
        "credentials.json": credentials.credentials(),
    }
    return {name: json.dumps(content, indent=2) + "\n" for name, content in files.items()}
