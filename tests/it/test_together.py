# SPDX-License-Identifier: GPL-3.0-or-later
"""
Many writers, a reader, and a snapshot every second.  Each snapshot is what
everything was at one moment: of each writer's numbered records a run without
gaps, each whole.  Records are whole pages: what is not, the kernel hands over
in pieces, and a snapshot may come between them.
"""
import hashlib
import multiprocessing
import os
import random
import signal
import struct
import threading
import time

import pytest

from pbs3fs_test import writing
from pbs3fs_test.paths import SLOW

WRITERS = 16
SLOTS = 12
HEAD = struct.Struct("<4sIII")
PAGE = 4096
SHARED_SLOT = 17 * PAGE


def record(who, n, size):
    """Record n of a writer: knows itself."""
    body = hashlib.shake_128(b"%d %d" % (who, n)).digest(256)
    rest = size - HEAD.size
    return HEAD.pack(b"REC!", who, n, size) + \
        (body * (rest // len(body) + 1))[:rest]


def parse(data, what):
    """(who, n) of a whole record, or None where nothing was written."""
    magic, who, n, size = HEAD.unpack_from(data)
    if magic == bytes(4):
        assert not any(data), f"{what}: a record without a beginning"
        return None
    assert magic == b"REC!", what
    assert data[:size] == record(who, n, size), \
        f"{what}: record {n} of {who} is torn"
    return who, n


def size_of(who):
    return (1 + who) * PAGE


class Places:
    """Where a writer puts its records: in a file of its own, in its part of a
    file that it shares, and where all write."""
    def __init__(self, who, top):
        size = size_of(who)
        own = [f"{top}/data/own{who}", f"{top}/own{who}.img",
               f"{top}/stream{who}"][who % 3]
        self.own = own, 0
        self.part = top + "/shared.img", who * SLOTS * SHARED_SLOT
        self.crowd = top + "/data/crowd"
        self.moved = f"{top}/data/moved{who}"
        self.size = size


def write_at(path, off, data):
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        assert os.pwrite(fd, data, off) == len(data)
    finally:
        os.close(fd)


def writer(who, top, stop):
    """Until it is told to stop; ends with 1 at the first error."""
    signal.alarm(0)
    p = Places(who, top)
    r = random.Random(who)
    n = 0
    while not stop.is_set():
        data = record(who, n, p.size)
        for (path, start), step in ((p.own, p.size), (p.part, SHARED_SLOT)):
            write_at(path, start + n % SLOTS * step, data)
        write_at(p.crowd, r.randrange(SLOTS) * SHARED_SLOT, data)
        if n % 5 == 0:
            write_at(p.moved + ".new", 0, data)
            os.rename(p.moved + ".new", p.moved)
        n += 1
        time.sleep(0.002)


def check_run(path, start, step, who, size):
    """The records of one writer at one moment: how many it had written."""
    found = {}
    with open(path, "rb") as f:
        for slot in range(SLOTS):
            f.seek(start + slot * step)
            data = f.read(size)
            if not data:
                continue
            got = parse(data, f"{path} {slot}")
            if got is not None:
                assert got[0] == who and got[1] % SLOTS == slot, (path, got)
                found[slot] = got[1]
    if not found:
        return 0
    last = max(found.values())
    assert sorted(found.values()) == list(
        range(max(0, last - SLOTS + 1), last + 1)), f"{path}: of two moments"
    return last + 1


def check(top):
    """How many records there are in a snapshot."""
    total = 0
    for who in range(WRITERS):
        p = Places(who, top)
        own = part = moved = 0
        if os.path.exists(p.own[0]):
            own = check_run(*p.own, p.size, who, p.size)
        if os.path.exists(p.part[0]):
            part = check_run(*p.part, SHARED_SLOT, who, p.size)
        if os.path.exists(p.moved):
            with open(p.moved, "rb") as f:
                data = f.read()
            assert len(data) == p.size
            moved = parse(data, p.moved)[1] + 1
        # They are written in this order.
        assert part <= own <= part + 1, (who, own, part)
        assert moved <= part <= moved + 5, (who, part, moved)
        total += own
    if os.path.exists(p.crowd):
        with open(p.crowd, "rb") as f:
            for slot in range(SLOTS):
                f.seek(slot * SHARED_SLOT)
                data = f.read(HEAD.size)
                if len(data) == HEAD.size and data[:4] == b"REC!":
                    check_crowd(f, slot)
    return total


def check_crowd(f, slot):
    """A shorter record over a longer one leaves the end of that."""
    f.seek(slot * SHARED_SLOT)
    data = f.read(SHARED_SLOT)
    assert parse(data[:HEAD.unpack_from(data)[3]], f"crowd {slot}")


def walk(top, stop, seen):
    while not stop.is_set():
        for d, dirs, files in os.walk(top):
            for name in files:
                try:
                    os.lstat(os.path.join(d, name))
                    with open(os.path.join(d, name), "rb") as f:
                        f.read(100_000)
                except FileNotFoundError:
                    assert name.endswith(".new") or "moved" in name
                seen.append(name)


def together(site, seconds):
    m = site.mount("staging-size=24M", "memory=32M")
    top = writing.begin(m)
    os.mkdir(top + "/data")
    write_at(top + "/shared.img", 0, b"")
    os.truncate(top + "/shared.img", WRITERS * SLOTS * SHARED_SLOT)
    for who in range(WRITERS):          # no snapshot holds an empty stream
        p = Places(who, top)
        write_at(p.own[0], 0, record(who, 0, p.size))
    stop = multiprocessing.Event()
    seen, failed = [], []

    def read():
        try:
            walk(top, stop, seen)
        except BaseException as e:
            failed.append(e)

    procs = [multiprocessing.Process(target=writer, args=(i, top, stop),
                                     daemon=True) for i in range(WRITERS)]
    for p in procs:
        p.start()
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    made, totals = [], []
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end or len(made) < 3:
            began = time.monotonic()
            made.append(writing.publish(m))
            totals.append(check(m / made[-1]))
            time.sleep(max(0.0, began + 1 - time.monotonic()))
            assert all(p.is_alive() for p in procs)
    finally:
        stop.set()
    for p in procs:
        p.join(60 * SLOW)
        assert p.exitcode == 0
    reader.join(60 * SLOW)
    assert not reader.is_alive() and not failed, failed
    assert seen
    made.append(writing.publish(m))
    totals.append(check(m / made[-1]))
    assert totals == sorted(totals) and totals[-1] > totals[0]
    m.stop()
    site.forget_host()
    m = site.mount(mode="ro")
    assert [check(m / path) for path in made] == totals
    m.stop()
    print(f"{len(made)} snapshots, {totals[-1]} records, {len(seen)} reads")


@pytest.fixture(params=["dir", "s3"])
def site(request, tmp):
    options = []
    if request.param == "dir":
        store = writing.bare(os.path.join(tmp, "store"))
    else:
        b = request.getfixturevalue("new_bucket")({}, "none")
        store, options = f"s3://{b.name}/store", b.options()
        writing.run("create", "-q", store, "-o", ",".join(options))
    s = writing.Site(store, tmp, options)
    dog = threading.Timer(170 * SLOW, s.abort)
    dog.daemon = True
    dog.start()
    yield s
    dog.cancel()
    s.stop(check=False)


@pytest.mark.sanitize
@pytest.mark.thread
@pytest.mark.timeout(180)
def test_together(site):
    together(site, 15 if SLOW == 1 else 6)
