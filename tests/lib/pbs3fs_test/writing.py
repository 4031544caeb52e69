# SPDX-License-Identifier: GPL-3.0-or-later
"""Datastores that tests write into, and what became of it."""
import os
import shutil
import time

from . import listing
from .mount import Mount, run


class Site:
    """
    A datastore of a test's own and the local state of one host: its mounts
    share state and cache, until forget_host() makes it another host.
    """
    def __init__(self, store, directory, options=()):
        self.store = store
        self.dir = directory
        self.options = list(options)
        self.host = 0
        self.mounts = []

    @property
    def local(self):
        return os.path.join(self.dir, f"host{self.host}")

    def mount(self, *opts, mode="rw", **kw):
        os.makedirs(self.local, exist_ok=True)
        where = os.path.join(self.dir, f"mnt{len(self.mounts)}")
        m = Mount(self.store, where,
                  [f"state={self.local}/state", f"cache={self.local}/cache",
                   *self.options, *opts], mode=mode, **kw)
        self.mounts.append(m)
        return m

    def forget_host(self):
        """All local state is lost."""
        for m in self.mounts:
            assert m.proc.poll() is not None, "still mounted"
        shutil.rmtree(self.local, ignore_errors=True)
        self.host += 1

    def stop(self, check=True):
        for m in self.mounts:
            if m.proc.returncode is None:
                m.stop(check)

    def abort(self):
        for m in self.mounts:
            if m.proc.poll() is None:
                m.proc.kill()


def create(directory):
    """A new directory datastore."""
    run("create", directory, "-q")
    return directory


def bare(directory):
    """The same without the 65536 directories, which are made when they are
    needed: for tests that look at something else."""
    os.makedirs(os.path.join(directory, ".chunks"), mode=0o750)
    with open(os.path.join(directory, ".lock"), "w"):
        pass
    return directory


def begin(mount, group="host/web1"):
    """The group's current/, with the group made if it is not there."""
    where = mount / group
    if not os.path.isdir(where):
        os.mkdir(where)
    return os.path.join(where, "current")


_last = [0]


def stamp(when=None):
    """A name for a snapshot, later than all before."""
    when = max(int(when or time.time()), _last[0] + 1)
    _last[0] = when
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


def publish(mount, group="host/web1", name=None):
    """The path of the new snapshot, below the mount."""
    name = name or stamp()
    os.mkdir(os.path.join(mount / group, name))
    return os.path.join(group, name)


def contents(top):
    """What a snapshot keeps of the trees and files at its top."""
    out = {}
    for name in sorted(os.listdir(top)):
        path = os.path.join(top, name)
        if os.path.isdir(path):
            out[name] = listing.from_directory(path)
        else:
            out[name] = listing.sha256_file(path)
    return out


# What a snapshot has that nobody wrote.
MADE = "index.json", "catalog.pcat1"


def same(want, got, what="snapshot"):
    """Whether contents() are equal, but for what publishing adds."""
    want = {n: v for n, v in want.items() if n not in MADE}
    got = {n: v for n, v in got.items() if n not in MADE}
    assert sorted(want) == sorted(got), what
    for name, w in want.items():
        if isinstance(w, dict):
            listing.assert_same(w, got[name], f"{what}: {name}")
        else:
            assert w == got[name], f"{what}: {name}"
