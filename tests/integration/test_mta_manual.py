"""dracd-mta(7) shows the lines of the files of mta/, which the tests use."""

import pytest

import servers

COMMENTS = ("#", "dnl")
FILES = sorted(path for path in servers.TOP.glob("mta/*")
               if path.name != "README")


def lines(text):
    """Without indentation, comments and empty lines."""
    stripped = [line.strip() for line in text.splitlines()]
    return [line for line in stripped
            if line and not line.startswith(COMMENTS)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_manual_has_the_lines(path):
    manual = (servers.TOP / "man/dracd-mta.7").read_text()
    shown = lines(manual.replace("\\e", "\\"))
    assert [line for line in lines(path.read_text()) if line not in shown] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_readme_names_the_file(path):
    assert path.name in (servers.TOP / "mta/README").read_text()
