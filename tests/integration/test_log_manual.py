"""dracd(8) explains every line that dracd logs, and no other."""

import pathlib
import re

TOP = pathlib.Path(__file__).resolve().parents[2]
STRING = r'"((?:[^"\\]|\\.)*)"'
CALL = (r"\blog_(?:write|errno)\(\s*[^,]*,"
        r"\s*((?:\"(?:[^\"\\]|\\.)*\"|\s|PRI\w+)+)")


def head(text):
    """What comes before the values and the advice."""
    return re.split(r": |; |\(", text)[0].strip()


def items():
    manual = (TOP / "man/dracd.8").read_text()
    lines = re.findall(r'^\.It "(.*)"$', manual[manual.index(".Sh DIAG"):],
                       re.MULTILINE)
    return [item.replace('""', "") for line in lines
            for item in line.split("; ")]


def formats():
    for path in sorted(TOP.glob("dracd/*.c")):
        for found in re.findall(CALL, path.read_text()):
            if '"' in found:
                text = "".join(re.findall(STRING, found))
                yield path.name, text.replace('\\"', "")


def test_manual_has_every_line():
    heads = [head(item) for item in items()]
    lines = list(formats())
    assert len(lines) > 80
    for name, line in lines:
        shape = ".+".join(map(re.escape,
                              re.split(r"%[-+0-9.]*[a-z]*", head(line))))
        assert any(re.fullmatch(shape, item) for item in heads), (name, line)


def test_no_line_is_made_up():
    """The words of each stand so in a string of the daemon."""
    code = "".join(path.read_text() for path in sorted(TOP.glob("dracd/*.c")))
    code = code.replace('\\"', "")
    code = re.sub(r'"\s*(?:PRI\w+\s*)?"', "", code)
    for item in items():
        words = max(re.split(r"[a-z-]*=|\b[A-Z]+s?\b|\d+|\.\.\.",
                             head(item)), key=len)
        assert words.strip() in code, item
