"""
powercut: what a disk may hold when power fails. Reads what the preload
powertrace wrote down of a process, and keeps for each file what is sure to be
on the disk and what is only in memory; put() makes a directory as a restart
may find it at that instant.

A model, and not a real file system below a recorded block device, since it is
harder on a program than any of those and runs everywhere: nothing is on the
disk but by fsync; a name only by an fsync of its directory; of the rest any
sectors and any names, in any order, whatever was done first (ext4 would keep
that order, and its fsync of a new file its name too). A flush that fails
writes some of its pages and leaves all of them "clean": only a later change of
the others brings them to the disk.
"""

import collections
import os
import pathlib
import struct

LINE = struct.Struct("<QQQIc3x")
PAGE, SECTOR = 4096, 512
# What becomes of what nobody has flushed.
NOTHING, ALL, BEGINNING, SOME = "nothing", "all", "the beginning", "some"
FATES = NOTHING, ALL, BEGINNING, SOME

DIRECTORY = object()

Event = collections.namedtuple("Event", "stamp_ns what ino at data")


def read_trace(path):
    """The events of a process that may have been killed."""
    data, at = pathlib.Path(path).read_bytes(), 0
    while at + LINE.size <= len(data):
        stamp_ns, ino, where, length, what = LINE.unpack_from(data, at)
        at += LINE.size
        if at + length > len(data):
            return
        yield Event(stamp_ns, what.decode(), ino, where,
                    data[at:at + length])
        at += length


class File:
    """One file; sure: what is on the disk, now: what a reader sees."""

    def __init__(self, content=b""):
        self.sure, self.now = bytearray(content), bytearray(content)
        self.dirty = {}         # page: number of its newest change
        self.begun = {}         # stamp: (number, size, {page: its bytes})
        self.versions = []      # of a file that is never flushed
        self.changes = 0

    def _touch(self, begin, end):
        self.changes += 1
        for page in range(begin // PAGE, (end + PAGE - 1) // PAGE):
            self.dirty[page] = self.changes

    def write(self, at, data):
        end = at + len(data)
        if len(self.now) < at:
            self.truncate(at)
        self.now[at:end] = data
        self._touch(at, end)

    def truncate(self, size):
        old = len(self.now)
        del self.now[size:]
        self.now += bytes(size - len(self.now))
        self._touch(max(0, min(size, old) - 1), max(size, old))

    def begin(self, stamp):
        self.begun[stamp] = self.changes, len(self.now), {
            page: bytes(self.now[page * PAGE:(page + 1) * PAGE])
            for page in self.dirty}

    def end(self, stamp, done, rng):
        number, size, pages = self.begun.pop(stamp)
        for page in [p for p in pages if self.dirty.get(p, number) <= number]:
            self.dirty.pop(page, None)
        if not done:
            pages = {page: pages[page] for page in pages
                     if rng.random() < 0.5}
            size = rng.choice((size, len(self.sure)))
        del self.sure[size:]
        self.sure += bytes(size - len(self.sure))
        for page, data in pages.items():
            data = data[:max(0, size - page * PAGE)]
            self.sure[page * PAGE:page * PAGE + len(data)] = data

    def remember(self):
        self.versions.append(bytes(self.now))

    def after_cut(self, fate, rng):
        """What is left of it."""
        now = rng.choice(self.versions + [self.now]) if self.versions \
            else self.now
        if fate in (NOTHING, ALL):
            return bytes(self.sure if fate == NOTHING else now)
        longest = max(len(self.sure), len(now))
        size = rng.choice((len(self.sure), len(now), longest))
        if fate == BEGINNING:
            kept = rng.randrange(longest // SECTOR + 2) * SECTOR
            left = (bytes(now[:kept]) + bytes(self.sure[kept:]))
        else:
            left = bytearray(self.sure.ljust(longest, b"\0"))
            unit, share = rng.choice((SECTOR, PAGE)), rng.random()
            pages = sorted(self.dirty) if not self.versions else range(
                longest // PAGE + 1)
            for page in pages:
                for at in range(page * PAGE, (page + 1) * PAGE, unit):
                    source = rng.choice(self.versions + [now]) \
                        if self.versions else now
                    if rng.random() < share and at < longest:
                        new = bytes(source[at:at + unit])
                        left[at:at + len(new)] = new
        return bytes(left[:size]).ljust(size, b"\0")


class Disk:
    """
    The tree below root, all of it on the disk to begin with. never: a prefix
    of paths of files that nobody flushes, of which any version may be left.
    """

    def __init__(self, root, never, rng):
        self.root, self.never = pathlib.Path(root), str(never)
        self.rng = rng
        self.inode, self.sure, self.now = {}, {}, {}
        self.pending = collections.defaultdict(list)    # by directory
        self.begun, self.directory = {}, {}
        for path in [self.root, *self.root.rglob("*")]:
            if path.is_dir():
                self.directory[path.stat().st_ino] = str(path)
                self.sure[str(path)] = self.now[str(path)] = DIRECTORY
            elif path.is_file():
                file = File(path.read_bytes())
                self.inode[path.stat().st_ino] = file
                self.sure[str(path)] = self.now[str(path)] = file
        self.stamp_ns, self.events = 0, 0
        self.counts = collections.Counter()

    def _name(self, path, file):
        """path means file from now on, or nothing (None)."""
        if file is None:
            self.now.pop(path, None)
        else:
            self.now[path] = file
        return path, file

    def _change(self, *names):
        """One change of a directory, which happens or does not."""
        self.pending[os.path.dirname(names[0][0])].append(
            [self._name(*each) for each in names])

    def apply(self, event):
        self.events += 1
        self.stamp_ns = event.stamp_ns
        self.counts[event.what] += 1
        path = event.data.split(b"\0")[0].decode() if event.what in "CDURL" \
            else None
        file = self.inode.get(event.ino)
        if event.what == "C":
            self.inode[event.ino] = File()
            self._change((path, self.inode[event.ino]))
        elif event.what == "D":
            self.directory[event.ino] = path
            self._change((path, DIRECTORY))
        elif event.what == "U":
            self._change((path, None))
        elif event.what in "RL":
            target = event.data.split(b"\0")[1].decode()
            moved = self.now.get(path)
            self._change((target, moved),
                         *(((path, None),) if event.what == "R" else ()))
        elif event.ino in self.directory:
            self._flush_directory(event)
        elif file is None:      # one that was there before, not in the tree
            pass
        elif event.what == "W":
            file.write(event.at, event.data)
        elif event.what == "T":
            file.truncate(event.at)
        elif event.what == "B":
            file.begin(event.stamp_ns)
        elif event.at in file.begun:
            file.end(event.at, event.what == "E", self.rng)

    def _flush_directory(self, event):
        path = self.directory[event.ino]
        if event.what == "B":
            self.begun[event.stamp_ns] = list(self.pending[path])
        elif event.what == "E" and event.at in self.begun:
            for change in self.begun.pop(event.at):
                if change in self.pending[path]:
                    self.pending[path].remove(change)
                    self._carry_out(self.sure, change)

    @staticmethod
    def _carry_out(names, change):
        for path, file in change:
            if file is None:
                names.pop(path, None)
            else:
                names[path] = file

    def remember(self):
        """This version of the files that are never flushed may be left."""
        for path, file in self.now.items():
            if path.startswith(self.never) and file is not DIRECTORY:
                file.remember()

    def agrees(self):
        """Whether the files are now what the events have made of them."""
        return all(pathlib.Path(path).read_bytes() == file.now
                   for path, file in self.now.items()
                   if file is not DIRECTORY)

    def put(self, target, fates=None):
        """
        Makes target what root may be after a cut now; says how. fates: of
        names and of contents.
        """
        names, rng = dict(self.sure), self.rng
        fate_names, fate_files = fates or rng.choices(FATES, k=2)
        for changes in self.pending.values():
            kept = rng.randrange(len(changes) + 1)
            for number, change in enumerate(changes):
                if fate_names == ALL or \
                        fate_names == BEGINNING and number < kept or \
                        fate_names == SOME and rng.random() < 0.5:
                    self._carry_out(names, change)
        for path, file in sorted(names.items()):    # a directory first
            to = target / pathlib.Path(path).relative_to(self.root)
            if file is DIRECTORY:
                to.mkdir(mode=0o700, exist_ok=True)
            if file is DIRECTORY or not to.parent.is_dir():
                continue
            to.write_bytes(file.after_cut(
                rng.choice(FATES) if path.startswith(self.never)
                else fate_files, rng))
        return "names: %s, contents: %s" % (fate_names, fate_files)
