"""What README and docs say can be typed, can be typed: commands, flags, settings and links exist."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer.main

from resight.cli import app
from resight.recipes import load_recipe

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def said(pattern: str) -> list[tuple[str, str]]:
    return [(page.name, match) for page in PAGES for match in re.findall(pattern, page.read_text(), flags=re.MULTILINE)]


@pytest.mark.parametrize(("page", "line"), said(r"^\s*\$? ?(resight [a-z].*)$"))
def test_every_command_shown_has_the_flags_shown(page: str, line: str):
    name, *words = shlex.split(line.split("#", maxsplit=1)[0])[1:]
    if words and f"{name} {words[0]}" in COMMANDS:
        name = f"{name} {words.pop(0)}"
    known = {flag for parameter in COMMANDS[name].params for flag in parameter.opts}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known | {"--help"}, page


@pytest.mark.parametrize(("page", "change"), said(r"--set ((?!section)[a-z]+\.[a-z_0-9]+=[^\s`]+)"))
def test_every_setting_shown_is_one(page: str, change: str):
    # Settings may need each other (by_camera needs the epoch schedule); here only the name and the kind are asked for.
    needed = ["miner.by_camera=false", "miner.min_candidates=1"]
    load_recipe("gsmlp", images=10, overrides=[*needed, change.replace("…", "1")])


@pytest.mark.parametrize(("page", "link"), said(r"\]\(([^)#]+)\)"))
def test_every_link_leads_somewhere(page: str, link: str):
    base = ROOT / "docs" if (ROOT / "docs" / page).exists() else ROOT
    assert link.startswith("https://") or (base / link).exists()


@pytest.mark.parametrize(("page", "target"), said(r"^\s*make ([a-z]+)"))
def test_every_make_target_shown_exists(page: str, target: str):
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
