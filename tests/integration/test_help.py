"""--help and the manual name the options that a program has, and no others."""

import pathlib
import re
import string
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
MANUALS = {"dracd": "dracd.8", "dracctl": "dracctl.8",
           "dracexec": "dracexec.1", "dracwatch": "dracwatch.8"}
def run(build, *words):
    done = subprocess.run([pathlib.Path(build, words[0]).resolve(), *words[1:]],
                          capture_output=True, text=True, timeout=30,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def options_in(text):
    found = set()
    for word in re.findall(r"(?<![\w-])-{1,2}[a-zA-Z-]+", text):
        found.update([word] if word.startswith("--") else
                     ["-" + letter for letter in word[1:]])
    return found


def options_of_manual(name):
    """What stands behind an Fl of mdoc(7), up to the next macro."""
    found = set()
    for line in (TOP / "man" / name).read_text().splitlines():
        flags = False
        for word in line.replace("Fl Fl ", "Fl -").split():
            if re.fullmatch(r"\.?[A-Z][a-z]", word):
                flags = word.endswith("Fl")
            elif flags:
                found |= options_in("-" + word)
    return found


@pytest.mark.parametrize("program", MANUALS)
def test_help_and_manual(build, program):
    status, text, said = run(build, program, "--help")
    assert (status, said) == (0, "")
    assert run(build, program, "-h") == (status, text, said)
    assert re.fullmatch(program + r" \d+\.\d+\n",
                        run(build, program, "--version")[1])
    usage, *lines = re.split(r"\n(?=  )", text)
    listed = options_in("".join(line[2:].split("  ")[0] + "\n"
                                for line in lines if line.startswith("  -")))
    assert {"-h", "--help", "--version"} | options_in(usage) <= listed
    for letter in string.ascii_lowercase:   # --help is its value, if it has one
        unknown = re.search("(unknown|invalid) option", run(
            build, program, "-" + letter, "--help")[2])
        assert ("-" + letter in listed) == (not unknown), letter
    for verb in re.findall(r"^  ([a-z]+) ", text, re.MULTILINE):
        if program == "dracctl":
            usage = run(build, program, verb, "--help")[1].splitlines()[0]
            listed |= options_in(usage)
    assert options_of_manual(MANUALS[program]) == listed
