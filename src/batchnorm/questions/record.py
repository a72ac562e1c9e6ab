"""The recorded answers: one JSON file per framework and version, in the folder `answers`.

`batchnorm verify --record` writes them, difference pages read them. Not here: who asks the real
frameworks (verify), and the experiments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchnorm.errors import InvalidValue
from batchnorm.questions.question import Answer

__all__ = ["ANSWERS", "load", "recorded", "save", "versions"]

ANSWERS = Path(__file__).parent / "answers"


def versions(framework: str) -> list[str]:
    """Give the versions of a framework whose answers are recorded, oldest first."""
    stem = framework.replace("/", "-") + "@"
    found = [path.stem.removeprefix(stem) for path in ANSWERS.glob(f"{stem}*.json")]
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def load(framework: str, version: str | None = None) -> dict[str, Any]:
    """Read one file: framework, version, answers, and where they come from.

    Args:
        framework: torch, mindspore, tf_keras, keras, keras/torch or keras/jax.
        version: all of it, or its beginning ("2.6"); the newest one if not given.

    Raises:
        ValueError: nothing is recorded for it.
    """
    known = versions(framework)
    fitting = [v for v in known if version is None or f"{v}.".startswith(f"{version}.")]
    if not fitting:
        raise InvalidValue(
            f"no answers are recorded for {framework} {version or ''}; "
            f"recorded versions: {', '.join(known) or 'none'}"
        )
    path = ANSWERS / f"{framework.replace('/', '-')}@{fitting[-1]}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def recorded(dialect: str, version: str | None = None) -> dict[str, Answer]:
    """Give the recorded answers of a framework by the question's id, as `load` finds them.

    A file that says `like` has only the answers that differ from another framework's.
    """
    content = load(dialect, version)
    base = recorded(content["like"], content["version"]) if "like" in content else {}
    return {**base, **content["answers"]}


def save(
    framework: str,
    version: str,
    answers: Mapping[str, Answer],
    folder: Path | None = None,
    **more: str,
) -> Path:
    """Write one file; `more` says where the answers come from, or `like` which they are."""
    content = {"framework": framework, "version": version, **more, "answers": dict(answers)}
    path = (folder or ANSWERS) / f"{framework.replace('/', '-')}@{version}.json"
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path
