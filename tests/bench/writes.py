# SPDX-License-Identifier: GPL-3.0-or-later
"""
What is written through a mount and published, each time beside the least that
has to be done for it (bare.c), in turns on the same processors.

Of the time that passed, and of that of processors: the daemon's and the
writer's, against the bare pipeline's.  A machine that has other work too shows
the second.
"""
import json
import os
import shutil
import statistics
import subprocess
import time

from pbs3fs_test import pbsgen, writing
from pbs3fs_test.mount import run
from pbs3fs_test.paths import BUILD

BARE = os.path.join(BUILD, "tests/bench/bare")
BUCKET = "bench-writes"
GROUP = "host/bench"
FILES = 20000
TICKS = os.sysconf("SC_CLK_TCK")


class Times:
    def __init__(self, wall, cpu):
        self.wall, self.cpu = wall, cpu

    def __add__(self, other):
        return Times(self.wall + other.wall, self.cpu + other.cpu)


def command(*args):
    """Runs it; what it took."""
    before, start = os.times(), time.monotonic()
    subprocess.run(args, check=True)
    wall, after = time.monotonic() - start, os.times()
    return Times(wall, after.children_user - before.children_user +
                 after.children_system - before.children_system)


def daemon_cpu(mount):
    with open(f"/proc/{mount.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def bare(kind, path, target):
    out = subprocess.run([BARE, kind, path, target], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    return Times(*map(float, out.split()))


class Directory:
    name = "directory"

    def __init__(self, work):
        self.work = work
        self.options = []

    def bare_target(self):
        where = os.path.join(self.work, "bare")
        shutil.rmtree(where, ignore_errors=True)
        os.mkdir(where)
        return where

    def store(self):
        where = os.path.join(self.work, "written")
        shutil.rmtree(where, ignore_errors=True)
        run("create", where, "-q")
        return where


class Bucket:
    name = "S3"

    def __init__(self, work, gateway, options):
        self.gateway = gateway
        self.options = options
        self.n = 0
        client = gateway.client()
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({
            "Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": "*", "Action": "s3:PutObject",
                "Resource": f"arn:aws:s3:::{BUCKET}/*"}]}))

    def bare_target(self):
        self.n += 1
        return f"{self.gateway.endpoint}/{BUCKET}/bare{self.n}"

    def store(self):
        self.n += 1
        store = f"s3://{BUCKET}/d{self.n}"
        run("create", "-q", store, "-o", ",".join(self.options))
        return store


def through_mount(place, work, write, *opts):
    """write(current) in a new store, then published."""
    local = os.path.join(work, "site")
    shutil.rmtree(local, ignore_errors=True)
    os.mkdir(local)
    site = writing.Site(place.store(), local, place.options)
    m = site.mount(*opts)
    try:
        current = writing.begin(m, GROUP)
        cpu = daemon_cpu(m)
        t = write(current)
        start = time.monotonic()
        writing.publish(m, GROUP)
        t += Times(time.monotonic() - start, daemon_cpu(m) - cpu)
        peak = m.peak()
    finally:
        site.stop()
    return t, peak


def compare(what, mib, runs, ours, theirs):
    """In turns, so that what else the machine does hits both alike."""
    pairs, peak = [], 0
    for _ in range(runs):
        b = theirs()
        o, rss = ours()
        pairs.append((o, b))
        peak = max(peak, rss)
    wall = [b.wall / o.wall for o, b in pairs]
    cpu = [b.cpu / o.cpu for o, b in pairs]
    speed = statistics.median(mib / o.wall for o, _ in pairs)
    print(f"{what:34} {speed:8.0f} MB/s   ratio {statistics.median(wall):.2f}"
          f" (lowest {min(wall):.2f}, budget 0.8)   of CPU time "
          f"{statistics.median(cpu):.2f} (lowest {min(cpu):.2f})   "
          f"{peak >> 20} MiB", flush=True)


def one_file(place, work, path, kind, name, runs):
    def write(current):
        return command("dd", f"if={path}", f"of={current}/{name}", "bs=1M",
                       "status=none")
    compare(f"write {name}, {place.name}", os.path.getsize(path) >> 20, runs,
            lambda: through_mount(place, work, write),
            lambda: bare(kind, path, place.bare_target()))


def make_tree(top):
    noise = pbsgen.noise(1 << 24, 77)
    total = 0
    for d in range(FILES // 100):
        where = os.path.join(top, f"d{d:03}")
        os.makedirs(where)
        for i in range(100):
            at = (d * 100 + i) * 523
            n = 200 + at % 16000
            with open(f"{where}/f{i:02}", "wb") as f:
                f.write(noise[at:at + n // 2])
                f.write(b"nothing happened here\n" * (n // 44))
            total += n
    return total


def tree(place, work, runs):
    top = os.path.join(work, "tree")
    if not os.path.isdir(top):
        make_tree(top)
    size = int(subprocess.run(["du", "-sm", "--apparent-size", top],
                              check=True, text=True,
                              stdout=subprocess.PIPE).stdout.split()[0])

    def theirs():
        """Copied to the same disk, and that packed."""
        copy, tar = os.path.join(work, "copy"), os.path.join(work, "copy.tar")
        shutil.rmtree(copy, ignore_errors=True)
        return (command("cp", "-a", top, copy) +
                command("tar", "-cf", tar, "-C", work, "copy") +
                bare("dynamic", tar, place.bare_target()))

    compare(f"cp -a of {FILES:,} files, {place.name}", size, runs,
            lambda: through_mount(place, work, lambda current: command(
                "cp", "-a", top, current + "/root")), theirs)


def encrypted(place, work, path, runs):
    """With a key, beside the same without."""
    key = os.path.join(work, "write-key.json")
    run("key", "create", "-q", "--kdf=none", key)

    def once(*opts):
        return through_mount(place, work, lambda current: command(
            "dd", f"if={path}", f"of={current}/disk.img", "bs=1M",
            "status=none"), *opts)[0]

    pairs = [(once(f"keyfile={key}", "crypt=encrypt"), once())
             for _ in range(runs)]
    wall = statistics.median(b.wall / o.wall for o, b in pairs)
    cpu = statistics.median(b.cpu / o.cpu for o, b in pairs)
    print(f"{'encrypted disk.img, ' + place.name:34} beside plain: ratio "
          f"{wall:.2f}   of CPU time {cpu:.2f}", flush=True)


def measure(work, gateway, options, chunks, runs):
    """chunks: what an image consists of."""
    path = os.path.join(work, "image")
    with open(path, "wb") as f:
        for c in chunks:
            f.write(c)
    for place in Directory(work), Bucket(work, gateway, options):
        one_file(place, work, path, "fixed", "disk.img", runs)
        one_file(place, work, path, "dynamic", "stream", runs)
        tree(place, work, runs)
        encrypted(place, work, path, runs)
    os.unlink(path)
