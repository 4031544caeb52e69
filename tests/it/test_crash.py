# SPDX-License-Identifier: GPL-3.0-or-later
"""
The daemon is killed at each write of a journal, and before and after each
request to the store, one after the other; then the mount is resumed by a new
daemon.  What was answered must be there, what was under way is there as a
whole or not at all, and every snapshot that is listed is complete.
"""
import concurrent.futures
import os
import shutil

import pytest

from pbs3fs_test import listing, pbsgen, writing

BIG = 5 << 20


def write(path, data, off=0, sync=False, flags=os.O_WRONLY | os.O_CREAT):
    fd = os.open(path, flags, 0o640)
    try:
        os.pwrite(fd, data, off)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def steps():
    """What the victim does: each step is made of one change at a time, so that
    there are two right answers after a crash in it.  Takes current/."""
    def at(name):
        return lambda top: os.path.join(top, name)

    def put(name, size, seed, off=0):
        # Making a file and writing into it are two changes.
        yield lambda top: os.close(os.open(at(name)(top),
                                           os.O_WRONLY | os.O_CREAT, 0o640))
        yield lambda top: write(at(name)(top), pbsgen.noise(size, seed), off)

    yield lambda top: os.mkdir(at("data")(top))
    for i in range(4):
        yield from put(f"data/f{i}", 3000 * i + 1, i)
    yield lambda top: os.symlink("f1", at("data/link")(top))
    yield lambda top: os.mkdir(at("data/sub")(top), 0o700)
    yield from put("data/sub/deep", 50_000, 10)
    yield from put("disk.img", 100_000, 11, off=1 << 20)
    yield lambda top: os.truncate(at("disk.img")(top), BIG)
    yield from put("stream", 200_000, 12)
    yield from put("job.conf", 500, 13)
    yield "publish"
    yield lambda top: write(at("data/f1")(top), b"overwritten", 100)
    yield lambda top: os.rename(at("data/f2")(top), at("data/sub/f2")(top))
    yield lambda top: os.rename(at("data/sub")(top), at("data/moved")(top))
    yield lambda top: os.unlink(at("data/f0")(top))
    yield lambda top: os.link(at("data/f1")(top), at("data/hard")(top))
    yield lambda top: os.setxattr(at("data/f3")(top), "user.a", b"b")
    yield lambda top: os.chmod(at("data/f3")(top), 0o711)
    yield lambda top: os.truncate(at("data/f3")(top), 17)
    yield lambda top: write(at("disk.img")(top), b"block" * 1000, 4 << 20,
                            sync=True)
    yield lambda top: write(at("stream")(top), b"tail", 200_000)
    yield "publish"
    yield lambda top: os.rename(at("data/f1")(top), at("data/f3")(top))
    yield lambda top: os.unlink(at("stream")(top))
    yield lambda top: os.unlink(at("data/moved/f2")(top))
    yield from put("data/moved/f2", 10, 15)
    yield lambda top: os.rename(at("data/moved")(top), at("other")(top))
    yield "publish"
    for i in range(12):
        yield from put(f"other/g{i}", 700 * i, 20 + i)
    for i in range(0, 12, 3):
        yield lambda top, i=i: os.rename(at(f"other/g{i}")(top),
                                         at(f"other/g{i + 1}")(top))
    for i in range(9):
        # The kernel asks for no more than this at once.
        yield from put("second.img", 1 << 20, 40 + i, off=i << 20)
    yield "publish"
    for i in range(6):
        yield lambda top, i=i: write(at("second.img")(top), b"%d" % i,
                                     i << 20)
    yield lambda top: os.unlink(at("data/hard")(top))
    yield lambda top: os.unlink(at("disk.img")(top))
    yield "publish"


def state(top):
    """Contents without times, which differ between two file systems."""
    out = writing.contents(top)
    for tree in out.values():
        if isinstance(tree, dict):
            for record in tree.values():
                record.pop("mtime")
    return out


def difference(want, got):
    """What to look at."""
    out = []
    for name in sorted(set(want) | set(got)):
        w, g = want.get(name), got.get(name)
        if isinstance(w, dict) and isinstance(g, dict):
            out += [f"{name}: {line}" for line in listing.differences(w, g)]
        elif w != g:
            out.append(f"{name}: {w} is {g}")
    return "\n".join(out)


class Victim:
    def __init__(self, site):
        self.site = site
        self.mirror = os.path.join(site.dir, "mirror")
        os.mkdir(self.mirror)
        self.snapshots = {}
        self.allowed = None

    def live(self, *opts):
        """True if it got through all of it."""
        self.allowed = None
        try:
            m = self.site.mount(*opts)
        except AssertionError:
            return False
        try:
            top = writing.begin(m)
            for step in steps():
                if not self.do(m, top, step):
                    return False
            return True
        except OSError:
            self.allowed = self.allowed or [state(self.mirror)]
            return False
        finally:
            if m.proc.poll() is None:
                try:
                    m.stop(check=False)
                except AssertionError:
                    pass
            else:
                m.kill()
            assert m.proc.returncode in (0, -9), m.log()

    def do(self, m, top, step):
        if step == "publish":
            name = writing.stamp()
            want = state(self.mirror)
            self.snapshots[name] = (want, None)
            try:
                os.mkdir(os.path.join(os.path.dirname(top), name))
            except OSError:
                self.allowed = [want]
                return False
            self.snapshots[name] = (want, True)
            return True
        try:
            step(top)
        except OSError:
            before = state(self.mirror)
            step(self.mirror)
            self.allowed = [before, state(self.mirror)]
            return False
        step(self.mirror)
        return True

    def check(self):
        """By a new daemon on the same host; then by another host."""
        m = self.site.mount()
        group = m / "host/web1"
        if self.allowed is None:
            self.allowed = [state(self.mirror)]
        if os.path.isdir(group):
            got = state(os.path.join(group, "current"))
            assert got in self.allowed, m.log() + difference(
                self.allowed[-1], got)
            published = writing.stamp()
            for name in list(got):
                # No index holds an empty stream.
                path = os.path.join(group, "current", name)
                if os.path.isfile(path) and os.path.getsize(path) == 0:
                    os.unlink(path)
                    del got[name]
            if got:
                os.mkdir(os.path.join(group, published))
                self.snapshots[published] = (got, True)
        else:
            # It died before the group was there.
            assert self.allowed == [{}] and not self.snapshots
        m.stop()
        self.site.forget_host()
        there = self.site.mount(mode="ro")
        group = there / "host/web1"
        listed = [] if not os.path.isdir(group) else \
            [n for n in os.listdir(group) if n.endswith("Z")]
        for name in listed:
            want, _ = self.snapshots[name]
            got = state(os.path.join(group, name))
            got.pop("index.json")
            assert got == want, name
        for name, (_, done) in self.snapshots.items():
            assert not done or name in listed, f"{name} is lost"
        assert there.errors() == ""
        there.stop()


class Places:
    """A new datastore for each death."""
    def __init__(self, tmp, bucket=None):
        self.tmp = tmp
        self.bucket = bucket
        self.n = 0

    def __call__(self):
        self.n += 1
        where = os.path.join(self.tmp, f"p{self.n}")
        os.mkdir(where)
        if self.bucket is None:
            store = os.path.join(where, "store")
            # Chunk directories are made when they are needed.
            os.makedirs(store + "/.chunks")
            return writing.Site(store, where)
        store = f"s3://{self.bucket.name}/store{self.n}"
        options = self.bucket.options()
        writing.run("create", "-q", store, "-o", ",".join(options))
        return writing.Site(store, where, options)


def die_once(site, option):
    """Live with it, die, check; True if it got through alive."""
    v = Victim(site)
    alive = v.live(option)
    v.check()
    site.stop()
    shutil.rmtree(site.dir)
    return alive


def die_everywhere(places, points):
    """A life for each option of points, two at a time, until one gets through.
    How many died."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        died = 0
        while True:
            lives = []
            for _ in range(2):
                site = places()
                lives.append(pool.submit(die_once, site, next(points)(site)))
            for alive in [life.result() for life in lives]:
                if alive:
                    return died
                died += 1


def journal_points():
    n = 1
    while True:
        yield lambda _site, n=n: f"kill-journal={n}"
        n += 1


def request_points(action, step=1):
    def option(site, n):
        path = os.path.join(site.dir, "faults")
        with open(path, "w") as f:
            f.write(f"* * {action} after={n} count=1\n")
        return f"fault={path}"

    n = 0
    while True:
        yield lambda site, n=n: option(site, n)
        n += step


@pytest.mark.timeout(600)
def test_journal(tmp):
    died = die_everywhere(Places(tmp), journal_points())
    print(f"{died} deaths at journal writes")
    assert died >= 100


@pytest.mark.timeout(600)
@pytest.mark.parametrize("action", ["kill", "kill-after"])
def test_requests_directory(tmp, action):
    died = die_everywhere(Places(tmp), request_points(action))
    print(f"{died} deaths: {action}, directory")
    assert died >= 60


@pytest.mark.timeout(600)
@pytest.mark.parametrize("action", ["kill", "kill-after"])
def test_requests_bucket(tmp, new_bucket, action):
    # What is dead before a request is sent was mostly seen dead after the one
    # before it.
    step = 1 if action == "kill-after" else 3
    died = die_everywhere(Places(tmp, new_bucket({}, "none")),
                          request_points(action, step))
    print(f"{died} deaths: {action}, bucket")
    assert died >= 60 // step
