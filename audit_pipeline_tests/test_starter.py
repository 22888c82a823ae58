"""`init` writes a configuration that loads as it is, shows every key, and overwrites nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from audit_pipeline.errors import UserError
from audit_pipeline.sections import NOT_YET, SmtpSettings
from audit_pipeline.settings import Settings
from audit_pipeline.starter import PIPELINE, init


def test_example_loads_as_it_is_and_is_the_default_where_it_may_be(tmp_path: Path) -> None:
    written = init(tmp_path / "new" / "folder")
    assert [path.name for path in written] == ["pipeline.yaml", ".gitignore"]
    settings = Settings.load(written[0])
    plain = Settings.model_validate({"start": settings.start, "sources": settings.sources, "teams": settings.teams})
    assert settings.model_dump() == plain.model_dump(), "the example shows the defaults"


def models(annotation: Any) -> list[type[BaseModel]]:
    found = [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []
    return found + [model for part in get_args(annotation) for model in models(part)]


def keys_below(model: type[BaseModel]) -> set[str]:
    names = {field.alias or name for name, field in model.model_fields.items()}
    return names.union(
        *(keys_below(inner) for field in model.model_fields.values() for inner in models(field.annotation))
    )


def test_every_key_stands_in_the_example() -> None:
    lines = [line.removeprefix("# ") for line in PIPELINE.splitlines()]
    missing = {key for key in keys_below(Settings) if not any(f"{key}:" in line for line in lines)}
    assert missing == set()


def test_commented_mail_server_is_valid_too() -> None:
    block = PIPELINE[PIPELINE.index("# smtp:") :].split("\n\n")[0]
    told = yaml.safe_load("\n".join(line.removeprefix("# ") for line in block.splitlines()))
    smtp = SmtpSettings.model_validate(told["smtp"])
    assert (smtp.port, smtp.security, smtp.password_env) == (587, "starttls", "SMTP_PASSWORD")


@pytest.mark.parametrize("name", ["pipeline.yaml", ".gitignore"])
def test_nothing_is_overwritten_or_half_done(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=name):
        init(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        init(tmp_path / "file" / "below")


def unused(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Keys (the first two names of each) that settings call not used yet."""
    found = set()
    for name, field in model.model_fields.items():
        if NOT_YET in (field.description or ""):
            found.add(prefix + (field.alias or name))
        for inner in models(field.annotation):
            found |= unused(inner, f"{prefix}{name}.")
    return found


def test_keys_that_are_not_used_yet_are_called_so_here_and_in_the_roadmap() -> None:
    keys = unused(Settings)
    assert "retention.raw" in keys
    roadmap = (Path(__file__).parent.parent / "docs" / "roadmap.md").read_text(encoding="utf-8")
    used, later = PIPELINE.split("# Accepted, and not used yet")
    for key in keys:
        section, _, name = key.partition(".")
        assert f"`{key}`" in roadmap or f"`{section}`" in roadmap, key
        line = next((line for line in used.splitlines() if line.strip().startswith(f"{name or section}:")), None)
        assert f"\n{section}:" in later or (line is not None and "not used yet" in line), key
