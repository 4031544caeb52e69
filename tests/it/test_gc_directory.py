# SPDX-License-Identifier: GPL-3.0-or-later
"""
A directory that is collected in turn by us and by a server's rules, which
pbsgc.py has: access times as marks, the lock, .bad and .using, strangers.
"""
import json
import os
import random
import shutil
import subprocess
import time

import pytest

from pbs3fs_test import pbsgc, pbsgen, writing
from pbs3fs_test.mount import run
from pbs3fs_test.paths import PBS3FS

DAY = 24 * 3600
GROUPS = ["host/a", "host/ab", "vm/10", "vm/100"]
ZERO = "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8"
BUSY = 1

# Temporary files of a server, old and new, and things that nobody knows.
STRANGERS = [
    ".chunks/0000/readme", ".chunks/notes.txt", ".chunks/zzzz/file",
    ".chunks/0001/" + "0001" + "a" * 60 + ".tmp_Ab12Cd",
    ".chunks/0001/" + "0001" + "b" * 59,
    ".chunks/0001/" + "0001" + "c" * 60 + ".10.bad",
    ".chunks/0001/" + "0001" + "D" * 60,
    "host/a/readme", "lost+found/x", "host/a/index.json.tmp_AAAAAA",
    ".hidden/disk.img.fidx",
]


class World:
    """A datastore and a source of chance."""
    def __init__(self, top, seed):
        self.top = writing.bare(top)
        self.luck = random.Random(seed)
        self.when = 1704067200
        self.snaps = []
        for rel in STRANGERS:
            path = os.path.join(top, rel)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write(rel)
            os.utime(path, (1, 1))

    def files(self):
        """Chunks and what is beside them, by name."""
        return {n: os.path.join(top, n)
                for top, _, names in os.walk(self.top + "/.chunks")
                for n in names}

    def backup(self, group=None, finish=True):
        """As a server's client writes one: chunks, touched if they are there
        already, indices, the manifest."""
        self.when += 3600
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.when))
        kind, ident = (group or self.luck.choice(GROUPS)).split("/")
        s = pbsgen.Store(self.top)
        snap = s.snapshot(kind, ident, stamp)
        stream = b"".join(b"chunk %2d " % self.luck.randrange(24) * 100
                          for _ in range(self.luck.randint(1, 6)))
        snap.dynamic("data.didx", stream, 900)
        if finish:
            snap.finish()
        self.snaps.append(snap.rel)
        return snap.rel

    def forget(self):
        if self.snaps:
            rel = self.luck.choice(self.snaps)
            self.snaps.remove(rel)
            shutil.rmtree(os.path.join(self.top, rel))

    def pass_time(self, most=2 * DAY):
        """Every chunk was last used so much earlier."""
        by = self.luck.randint(600, most)
        for path in self.files().values():
            st = os.stat(path)
            os.utime(path, (st.st_atime - by, st.st_mtime - by))

    def set_aside(self):
        """A server has found a chunk damaged."""
        good = [n for n in self.files() if pbsgc.DIGEST.fullmatch(n)]
        if good:
            name = self.luck.choice(good)
            path = pbsgc.chunk_path(self.top, name)
            os.rename(path, path + f".{self.luck.randrange(10)}.bad")

    def known(self):
        """Digests that are there, set aside ones too."""
        return {n[:64] for n in self.files() if pbsgc.CHUNK.fullmatch(n)}

    def check_strangers(self):
        for rel in STRANGERS:
            with open(os.path.join(self.top, rel)) as f:
                assert f.read() == rel


def ages(top):
    return {os.path.join(where, n): os.stat(os.path.join(where, n))
            for where, _, names in os.walk(top) for n in names}


def twin(world, top):
    """The same store again, with the same ages; copying changes those."""
    before = ages(world.top)
    shutil.rmtree(top, ignore_errors=True)
    subprocess.run(["cp", "-a", world.top, top], check=True)
    for path, st in before.items():
        for p in (path, top + path[len(world.top):]):
            os.utime(p, ns=(st.st_atime_ns, st.st_mtime_ns))


def gc(top, *args, check=True):
    p = run("gc", top, "--json", *args, check=False)
    j = json.loads(p.stdout) if p.stdout else None
    if check:
        assert p.returncode in (0, 3), p.stderr
    return p, j


@pytest.mark.parametrize("seed", range(3))
def test_in_turn(tmp, seed):
    """Whoever collects, what is referred to and was there is there, and the
    two remove exactly the same."""
    w = World(tmp + "/store", seed)
    removed = 0
    for _ in range(12):
        for _ in range(w.luck.randint(2, 6)):
            w.luck.choice([w.backup, w.backup, w.forget, w.forget,
                           w.pass_time, w.pass_time, w.set_aside,
                           lambda: w.backup(finish=False)])()
        had, wanted = w.known(), pbsgc.referenced(w.top)
        other = World.__new__(World)
        other.top = tmp + "/twin"
        twin(w, other.top)
        theirs = pbsgc.collect(other.top)
        _, j = gc(w.top)
        names = {n for n in w.files() if pbsgc.CHUNK.fullmatch(n)}
        assert names - {ZERO} == {n for n in other.files()
                                  if pbsgc.CHUNK.fullmatch(n)} - {ZERO}
        assert j["removed"] + j["removed_bad"] == len(theirs)
        assert w.known() >= had & wanted
        assert j["missing"] == len(wanted - {n for n in names
                                             if len(n) == 64})
        removed += len(theirs)
        w.check_strangers()
        # And the other one goes on from there, with nothing more to do.
        assert pbsgc.collect(w.top) == set()
    assert removed > 5
    # Nothing referred to was touched but by its access time.
    for rel in w.snaps:
        assert os.path.exists(f"{w.top}/{rel}/data.didx")


def test_marks_last(tmp):
    """What we have found in use a server does not remove a day later, and the
    other way round: both set the access time of what is in use."""
    w = World(tmp + "/store", 7)
    w.backup()
    wanted = pbsgc.referenced(w.top)
    for first, second in ((lambda: gc(w.top), lambda: pbsgc.collect(w.top)),
                          (lambda: pbsgc.collect(w.top), lambda: gc(w.top))):
        for d in wanted:
            os.utime(pbsgc.chunk_path(w.top, d), (1, 1))
        first()
        for d in wanted:
            st = os.stat(pbsgc.chunk_path(w.top, d))
            assert st.st_atime > time.time() - 60 and st.st_mtime == 1
        second()
        assert w.known() >= wanted


def test_lock(tmp):
    """While a server's process writes or collects nobody else collects; ours
    says so and touches nothing."""
    w = World(tmp + "/store", 1)
    w.backup()
    w.forget()
    w.pass_time(10 * DAY)
    for path in w.files().values():
        os.utime(path, (1, 1))
    before = set(w.files())
    for exclusive in (False, True):
        with pbsgc.Holder(w.top, exclusive):
            p, _ = gc(w.top, check=False)
            assert p.returncode == BUSY, p.stderr
            assert "hint:" in p.stderr
            assert set(w.files()) == before


def test_lock_of_writers(tmp):
    """A server does not begin while chunks of ours are on their way into an
    index; afterwards it finds them referred to."""
    w = World(tmp + "/store", 1)
    with open(tmp + "/slow", "w") as f:
        f.write("put .chunks/* delay=1500\n")
    site = writing.Site(w.top, tmp, [f"fault={tmp}/slow"])
    m = site.mount()
    top = writing.begin(m, "host/new")
    data = os.urandom(9 << 20)
    with open(top + "/file", "wb") as f:
        f.write(data)
    p = subprocess.Popen([PBS3FS, "snapshot", m / "host/new"],
                         stdout=subprocess.PIPE)
    busy = 0
    while p.poll() is None:
        try:
            pbsgc.collect(w.top, 60)
        except pbsgc.Busy:
            busy += 1
        time.sleep(0.05)
    assert p.returncode == 0 and busy > 5
    path = p.stdout.read().decode().strip()
    pbsgc.collect(w.top, 60)
    with open(path + "/file", "rb") as f:
        assert f.read() == data
    site.stop()
    _, j = gc(w.top)
    assert j["missing"] == 0 and j["removed"] == 0


def test_using(tmp):
    """A marker of a server's cache is no chunk: it stays, and keeps nothing."""
    w = World(tmp + "/store", 2)
    w.backup()
    digest = sorted(pbsgc.referenced(w.top))[0]
    marker = pbsgc.chunk_path(w.top, digest) + ".using"
    open(marker, "w").close()
    os.utime(marker, (1, 1))
    _, j = gc(w.top, "--cutoff", "0")
    assert os.path.exists(marker) and j["missing"] == 0
    os.unlink(pbsgc.chunk_path(w.top, digest))
    p, j = gc(w.top, "--cutoff", "0")
    assert p.returncode == 3 and j["missing"] == 1
    assert j["missing_chunks"][0]["in"].startswith(w.snaps[0])
    w.check_strangers()
