"""SECURITY.md names tests: they must be there."""

import pathlib
import re

TESTS = pathlib.Path(__file__).resolve().parent.parent
TEXT = (TESTS.parent / "SECURITY.md").read_text()


def test_every_test_that_is_named():
    files = re.findall(r"(unit/test_\w+\.c|(?<!/)test_\w+\.py)", TEXT)
    assert len(set(files)) > 10
    for name in files:
        folder = "" if name.startswith("unit/") else "integration/"
        assert (TESTS / (folder + name)).exists(), name
    sources = "".join(path.read_text() for kind in ("integration/*.py",
                                                    "unit/*.c")
                      for path in TESTS.glob(kind))
    for name in re.findall(r"`([a-z]\w+_\w+)`", TEXT):
        assert re.search(r"(def|void) %s\(" % name, sources), name
