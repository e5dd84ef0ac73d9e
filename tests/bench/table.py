"""
table: what is to be reached, beside what was measured. Parts add rows while
they run; all of it is printed at the end and is left as Markdown.
"""

import datetime
import os
import statistics

import bed

_rows = []      # (part, row, figures, target, verdicts)
_peer = []      # (row, ours, the peer's)


def verdict(value, target, above=True):
    met = value >= target if above else value <= target
    return "ok" if met else "MISSED"


def row(part, name, figures, target="", verdicts=()):
    """figures and verdicts: what stands in the cells, in this order."""
    _rows.append((part, name, " / ".join(figures), target,
                  " / ".join(verdicts)))
    bed.say("    %s: %s  %s  %s", *_rows[-1][1:])


def peer(name, ours, theirs):
    """Calls a second of repetitions side by side."""
    ratios = [our / their for our, their in zip(ours, theirs)]
    _peer.append((name, "%.0f" % statistics.median(ours),
                  "%.0f" % statistics.median(theirs), "%.2f [%.2f-%.2f]" % (
                      statistics.median(ratios), min(ratios), max(ratios))))


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file
                 if line.startswith("model name")]
    return "%d cores (%s), Linux %s" % (
        os.cpu_count(), names[0] if names else "?", os.uname().release)


def markdown(head, rows):
    lines = [head, ["---"] * len(head)] + rows
    return "".join("| %s |\n" % " | ".join(cells) for cells in lines)


def text(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    for cells in rows:
        bed.say("%s", "  ".join(c.ljust(w) for c, w in zip(cells, widths))
                .rstrip())


def finish(name):
    """Prints the tables, writes them to name; how many targets were missed."""
    head = ["measured by", "", "figure (two: disk / tmpfs)", "to reach", ""]
    rows = [["`make bench PARTS=%s`" % part, *cells]
            for part, *cells in _rows]
    peer_head = ["calls/s", "dracd", "peer", "ratio"]
    say = "%s, %s%s" % (datetime.date.today(), machine(),
                        "; BENCH_QUICK: do not believe a figure"
                        if bed.QUICK else "")
    bed.say("\n%s\n", say)
    parts = [say + "\n"]
    if rows:
        text([[cells[1], cells[2], cells[3], cells[4]] for cells in
              [head] + rows])
        parts.append(markdown(head[1:] + head[:1],
                              [cells[1:] + cells[:1] for cells in rows]))
    if _peer:
        bed.say()
        text([peer_head] + [list(cells) for cells in _peer])
        parts.append(markdown(peer_head, [list(cells) for cells in _peer]))
    (bed.OUT / name).write_text("\n".join(parts), encoding="utf-8")
    return sum(verdicts.count("MISSED") for *_, verdicts in _rows)
