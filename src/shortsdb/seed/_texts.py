"""What the sample data says: niches with their titles and views, and how modules fail."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Niche:
    """A niche of the channel."""

    views: int
    """Views that a compilation of the last cycle gets in the end."""
    weekly: float
    """The factor by which these views change from week to week."""
    newest: tuple[str, ...]
    """The statuses of the last eight runs, oldest first."""
    titles: tuple[str, ...]


# cats has the most views in all; cooking gains the most, and grows the fastest.
NICHES = {
    "cats": Niche(
        14_000,
        1.0,
        ("uploaded",) * 5 + ("review", "failed", "running"),
        (
            "A cat opens the fridge",
            "The cat that waits for the bus",
            "Two kittens and one box",
            "A cat meets its first snow",
            "The cat that answers the door",
            "Nobody told the cat about glass",
            "A cat steals the whole salmon",
        ),
    ),
    "cooking": Niche(
        34_000,
        1.8,
        ("uploaded",) * 2 + ("review",) + ("uploaded",) * 3 + ("approved", "running"),
        (
            "Pasta for two in four minutes",
            "The knife trick that chefs hide",
            "Bread without an oven",
            "An egg, three ways",
            "The soup that took two days",
            "Frying rice over a campfire",
            "One pan, no washing up",
        ),
    ),
    "地震": Niche(
        6_000,
        0.85,
        ("uploaded",) * 3 + ("review",) + ("uploaded",) * 2 + ("review", "pending"),
        (
            "地震の瞬間、水槽が揺れる",
            "緊急地震速報が鳴った教室",
            "揺れるビルの最上階から",
            "防災バッグの中身を全部見せます",
            "震度5の台所で起きたこと",
            "猫が先に気づいた揺れ",
            "エレベーターが止まった十分間",
        ),
    ),
}
# How each module fails: class, message, function and line of code. A review is rejected instead.
FAILURES = {
    "clip": (
        "ValueError",
        "the video has no scene longer than 5 s",
        "cut",
        "scene = longest(scenes, at_least=5)",
    ),
    "script": (
        "JSONDecodeError",
        "the answer of the LLM is cut off: Unterminated string at line 3 column 9",
        "write_script",
        "script = json.loads(answer)",
    ),
    "tts": (
        "TimeoutError",
        "the speech engine did not answer within 120 s",
        "narrate",
        "audio = engine.speak(text, timeout=120)",
    ),
    "render": (
        "OSError",
        "[Errno 28] No space left on device: '/videos'",
        "concatenate",
        "output.write(frame)",
    ),
    "upload": (
        "HttpError",
        "403: the upload quota of today is used up",
        "upload",
        "response = request.execute()",
    ),
    "analytics": (
        "ConnectionError",
        "503: the service is unavailable; will ask again in 6 h",
        "poll",
        "counts = reports.query(ids).execute()",
    ),
}
