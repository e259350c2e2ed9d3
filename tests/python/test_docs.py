"""The code in the documentation runs: Python blocks in order, page by page, and the C++ block."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

import striate as st
from striate import models
from striate.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FAMILIES = sorted((ROOT / "docs" / "models").glob("*.md"))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name
)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    if "Digits" in page.read_text() or "digits" in page.read_text():
        pytest.importorskip("sklearn", reason="the digits come from scikit-learn: extra `data`")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), names)


QUOTE = re.compile(r"^<!-- quote (\S+) -->\n```\S*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if QUOTE.search(page.read_text())], ids=lambda page: page.name
)
def test_quotes_are_the_code(page):
    for path, quote in QUOTE.findall(page.read_text()):
        assert quote in (ROOT / path).read_text(), f"{page.name} quotes {path} as it is no longer"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "console")], ids=lambda page: page.name
)
def test_sessions_print_what_they_show(page, capsys):
    """`...` on a line of its own stands for lines left out."""
    for block in blocks(page, "console"):
        command, shown = block.split("\n", 1)
        assert main(command.removeprefix("$ striate ").split()) == 0
        printed = capsys.readouterr().out
        parts = shown.split("...\n")
        assert printed.startswith(parts[0])
        assert printed.endswith(parts[-1])
        places = [printed.find(part) for part in parts]
        assert all(-1 < before < after for before, after in pairwise(places))


@pytest.mark.usefixtures("no_init")
def test_parameter_counts_are_the_models():
    rows = re.findall(
        r"^\| `(\w+)(\(.*?\))?` \|(.*)",
        "".join(page.read_text() for page in FAMILIES),
        re.MULTILINE,
    )
    rows = [row for row in rows if row[0] in models.list_models()]
    assert len(rows) == 22
    for name, arguments, counts in rows:
        for variant in (name, f"{name}_bn") if "vgg" in name else (name,):
            model = eval(f"models.{variant}{arguments or '()'}", {"models": models})
            assert f" {sum(p.numel() for p in model.parameters()):,} |" in counts


def test_every_model_has_a_page():
    text = "".join(page.read_text() for page in FAMILIES)
    assert [
        name for name in models.list_models() if f"`{name.removesuffix('_bn')}`" not in text
    ] == []


def test_cpp_block_runs(tmp_path):
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    package = Path(st.__file__).parent
    if not (package / "include").is_dir():
        pytest.skip("needs the installed headers, which an editable install leaves in the source")
    (source,) = blocks(ROOT / "README.md", "cpp")
    (tmp_path / "app.cpp").write_text(source)
    libraries = package / "lib"
    subprocess.run(
        [
            *(compiler, "-std=c++20", "-Wall", "-Wextra", "-Wno-missing-field-initializers"),
            *(f"-I{package / 'include'}", tmp_path / "app.cpp", "-o", tmp_path / "app"),
            *(f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-lstriate"),
        ],
        check=True,
    )
    output = subprocess.run(
        [tmp_path / "app"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    losses = [float(line.removeprefix("loss ")) for line in output.splitlines()]
    assert len(losses) == 5
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", prose)
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []
