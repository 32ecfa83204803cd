"""What README and docs say can be typed, can be typed: commands, flags, settings and links exist."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer.main

from resight.cli import app
from resight.errors import ConfigError
from resight.recipes import load_recipe, recipe_names

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def said(pattern: str) -> list[tuple[str, str]]:
    return [(page.name, match) for page in PAGES for match in re.findall(pattern, page.read_text(), flags=re.MULTILINE)]


def settings_said() -> list[tuple[str, str, tuple[str, ...]]]:
    """Page, example and its settings; an example is a line of code, or what stands between two backticks."""
    examples = [
        (page.name, example)
        for page in PAGES
        for line in page.read_text().splitlines()
        for example in line.split("`")
        if "--set " in example
    ]
    found = [(page, example, re.findall(r"--set '?([^\s'|]+=[^\s'|]+)", example)) for page, example in examples]
    return [(page, example, tuple(changes)) for page, example, changes in found if "section.key=value" not in changes]


@pytest.mark.parametrize(("page", "line"), said(r"^\s*\$? ?(resight [a-z].*)$"))
def test_every_command_shown_has_the_flags_shown(page: str, line: str):
    name, *words = shlex.split(line.split("#", maxsplit=1)[0])[1:]
    if words and f"{name} {words[0]}" in COMMANDS:
        name = f"{name} {words.pop(0)}"
    command = COMMANDS[name]
    if words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    known = {flag for parameter in command.params for flag in parameter.opts + parameter.secondary_opts}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known | {"--help"}, page


@pytest.mark.parametrize(("page", "example", "changes"), settings_said())
def test_every_setting_shown_can_be_set_with_those_beside_it(page: str, example: str, changes: tuple[str, ...]):
    # With the recipe that the example names, else with one that comes with the package: the default first.
    named = re.findall(r"--recipe ([a-z]+)\b", example)
    assert changes, page
    errors = []
    for recipe in named or ["auto", *recipe_names()]:
        try:
            load_recipe(recipe, images=10, overrides=changes)
        except ConfigError as error:
            errors.append(f"{recipe}: {error}")
        else:
            return
    pytest.fail(f"{page}: {example}\n" + "\n".join(errors))


@pytest.mark.parametrize(("page", "link"), said(r"\]\(([^)#]+)\)"))
def test_every_link_leads_somewhere(page: str, link: str):
    base = ROOT / "docs" if (ROOT / "docs" / page).exists() else ROOT
    assert link.startswith("https://") or (base / link).exists()


@pytest.mark.parametrize(("page", "target"), said(r"^\s*make ([a-z]+)"))
def test_every_make_target_shown_exists(page: str, target: str):
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
