"""plots: lines in a chart as SVG; both axes are logarithmic."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 800, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 40, 50
COLOURS = ("#1b6ca8", "#c8442e", "#2e8b57", "#8a5fb0", "#b8860b")
UNITS = ((1e6, " M"), (1e3, " k"), (1, ""))


def label(value):
    """2000 is 2 k."""
    for unit, name in UNITS:
        if value >= unit:
            return "%g%s" % (value / unit, name)
    return "%g" % value


class Axis:
    """From a tick below to one above: decades, with 2 and 5 if there are few"""

    def __init__(self, values, start, length):
        low, high = min(values), max(values)
        steps = (1, 2, 5) if high / low < 1000 else (1,)
        decades = range(math.floor(math.log10(low)),
                        math.ceil(math.log10(high)) + 2)
        ticks = [float("%de%d" % (step, decade)) for decade in decades
                 for step in steps]
        first = max(i for i, tick in enumerate(ticks) if tick <= low)
        last = min(i for i, tick in enumerate(ticks) if tick >= high)
        self.ticks = ticks[first:max(last, first + 1) + 1]
        self.start, self.length = start, length

    def at(self, value):
        low, high = self.ticks[0], self.ticks[-1]
        return self.start + self.length * math.log(value / low) / math.log(
            high / low)


def text(x, y, what, anchor="middle", colour="#333", turn=""):
    return '<text x="%.0f" y="%.0f" text-anchor="%s" fill="%s"%s>%s</text>' % (
        x, y, anchor, colour, turn, escape(what))


def line(x1, y1, x2, y2):
    return '<path d="M%.1f %.1fL%.1f %.1f" stroke="#ddd"/>' % (x1, y1, x2, y2)


def chart(path, title, x_name, y_name, lines):
    """lines: {name: [(x, y), ...]}, all above 0."""
    points = [p for ps in lines.values() for p in ps]
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    x_axis = Axis([p[0] for p in points], LEFT, right - LEFT)
    y_axis = Axis([p[1] for p in points], bottom, TOP - bottom)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
           'font-family="sans-serif" font-size="12">' % (WIDTH, HEIGHT),
           '<rect width="100%" height="100%" fill="white"/>',
           text((LEFT + right) / 2, 20, title),
           text((LEFT + right) / 2, HEIGHT - 10, x_name),
           text(16, HEIGHT / 2, y_name,
                turn=' transform="rotate(-90 16 %d)"' % (HEIGHT / 2))]
    for tick in x_axis.ticks:
        x = x_axis.at(tick)
        out += [line(x, TOP, x, bottom), text(x, bottom + 18, label(tick))]
    for tick in y_axis.ticks:
        y = y_axis.at(tick)
        out += [line(LEFT, y, right, y),
                text(LEFT - 6, y + 4, label(tick), "end")]
    for i, (name, ps) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        out.append('<path d="M%s" fill="none" stroke="%s" stroke-width="2"/>'
                   % ("L".join("%.1f %.1f" % (x_axis.at(x), y_axis.at(y))
                               for x, y in ps), colour))
        out += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (
            x_axis.at(x), y_axis.at(y), colour) for x, y in ps]
        out.append(text(right + 12, TOP + 10 + 18 * i, name, "start",
                        colour))
    out.append("</svg>\n")
    path.write_text("\n".join(out), encoding="utf-8")
