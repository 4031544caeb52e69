# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Proxmox Backup Server on the same host relies on, in a directory that
both write into: access times, locks, names of what is not finished."""
import fcntl
import os
import struct
import threading
import time

import pytest

from pbs3fs_test import pbsgen, writing

OLD = time.time() - 3 * 86400
DAY = 86400


@pytest.fixture
def site(tmp):
    s = writing.Site(writing.bare(os.path.join(tmp, "store")), tmp)
    yield s
    s.stop(check=False)


def chunks(store):
    out = {}
    for d, _, names in os.walk(os.path.join(store, ".chunks")):
        for n in names:
            out[n] = os.path.join(d, n)
    return out


def referenced(store, path):
    """Digests in the indices of a snapshot."""
    out = set()
    top = os.path.join(store, path)
    for name in os.listdir(top):
        if not name.endswith(("didx", "fidx")):
            continue
        with open(os.path.join(top, name), "rb") as f:
            table = f.read()[4096:]
        if name.endswith("didx"):
            out |= {table[i + 8:i + 40].hex()
                    for i in range(0, len(table), 40)}
        else:
            out |= {table[i:i + 32].hex() for i in range(0, len(table), 32)}
    return out


def can_collect(store):
    """As the server's garbage collection: an exclusive record lock."""
    with open(os.path.join(store, ".lock"), "r+b") as f:
        try:
            fcntl.fcntl(f, fcntl.F_OFD_SETLK, struct.pack(
                "hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except BlockingIOError:
            return False
        return True


def fill(top, seed):
    os.makedirs(top + "/data", exist_ok=True)
    for i in range(30):
        with open(f"{top}/data/f{i:02}", "wb") as f:
            f.write(pbsgen.noise(400_000, seed + i))
    with open(top + "/disk.img", "wb") as f:
        f.write(pbsgen.noise(16 << 20, seed))


def test_access_times(site):
    """Every chunk that a new snapshot refers to is touched, those it has taken
    over from the last one, too."""
    m = site.mount()
    top = writing.begin(m)
    fill(top, 0)
    writing.publish(m)
    m.stop()
    for path in chunks(site.store).values():
        st = os.stat(path)
        os.utime(path, (OLD, st.st_mtime))
    m = site.mount()
    top = writing.begin(m)
    with open(top + "/data/f07", "ab") as f:
        f.write(b"more")
    with open(top + "/disk.img", "r+b") as f:
        f.seek(5 << 20)
        f.write(b"other")
    path = writing.publish(m)
    files = chunks(site.store)
    want = referenced(site.store, path)
    stale = [d for d in want
             if os.stat(files[d]).st_atime < time.time() - DAY]
    assert stale == []
    # What only the first one has is left to its age.
    assert any(os.stat(p).st_atime < time.time() - DAY
               for d, p in files.items() if d not in want)


def test_chunk_gone(site):
    """A chunk that garbage collection has taken between two snapshots is
    brought again, or publishing says that it cannot."""
    m = site.mount()
    top = writing.begin(m)
    with open(top + "/disk.img", "wb") as f:
        f.write(pbsgen.noise(12 << 20, 3))
    writing.publish(m)
    gone = chunks(site.store).popitem()[1]
    os.unlink(gone)
    with open(top + "/disk.img", "wb") as f:
        f.write(pbsgen.noise(12 << 20, 3))
    path = writing.publish(m)
    assert referenced(site.store, path) <= set(chunks(site.store))
    os.unlink(chunks(site.store).popitem()[1])
    with open(top + "/other.img", "wb") as f:
        f.write(b"x")
    with pytest.raises(OSError):
        writing.publish(m)
    assert "disk.img" in m.log() + m.errors()


def test_lock(site):
    """Garbage collection has to wait exactly while there are chunks that no
    snapshot refers to yet."""
    m = site.mount("fsync=s3")
    assert can_collect(site.store)
    top = writing.begin(m)
    assert can_collect(site.store)
    with open(top + "/disk.img", "wb") as f:
        f.write(pbsgen.noise(8 << 20, 4))
        f.flush()
        os.fsync(f.fileno())
    assert len(chunks(site.store)) >= 2
    assert not can_collect(site.store)
    writing.publish(m)
    end = time.monotonic() + 30
    while not can_collect(site.store):
        assert time.monotonic() < end, "the lock is still held"
        time.sleep(0.2)


def test_collection_under_way(site):
    """While the server collects, publishing fails and says why."""
    m = site.mount()
    top = writing.begin(m)
    with open(top + "/disk.img", "wb") as f:
        f.write(pbsgen.noise(8 << 20, 5))
    with open(os.path.join(site.store, ".lock"), "r+b") as f:
        fcntl.fcntl(f, fcntl.F_OFD_SETLK, struct.pack(
            "hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        with pytest.raises(OSError):
            writing.publish(m)
        assert "garbage collection" in m.log()
    writing.publish(m)


def test_only_temporary_names_before(site):
    """Until the manifest is there no index has its name, and what has none is
    called what the server takes for unfinished."""
    m = site.mount()
    top = writing.begin(m)
    fill(top, 50)
    group = os.path.join(site.store, "host/web1")
    seen, stop = set(), threading.Event()

    def watch():
        while not stop.is_set():
            for d, _, names in os.walk(group):
                rel = os.path.relpath(d, group)
                finished = "index.json.blob" in names
                # Names that came in between are looked at next time.
                seen.update((rel, n, finished) for n in names)

    t = threading.Thread(target=watch)
    t.start()
    try:
        writing.publish(m)
    finally:
        stop.set()
        t.join()
    for rel, name, _ in seen:
        if rel == ".":
            assert name in ("owner", "notes")
        else:
            assert name.endswith((".didx", ".fidx", ".blob")) or \
                ".tmp" in name, name
