# SPDX-License-Identifier: GPL-3.0-or-later
"""Much data that is quick to make, compresses, and can be made again; and how
much of a disk a directory takes meanwhile."""
import os
import random
import threading

from . import pbsgen

BLOCK = 64 << 10
_PERIOD = 256


def _base():
    """16 MiB in which a chunker finds its cuts and zstd half."""
    raw = pbsgen.noise(_PERIOD * BLOCK // 2, 99)
    return b"".join(raw[i:i + 512] + bytes(512)
                    for i in range(0, len(raw), 512))


_data = []


def block(tag, k):
    """64 KiB, others for each tag and k."""
    if not _data:
        _data.append(memoryview(_base()))
    at = (k * 97 + tag * 31) % _PERIOD * BLOCK
    stamp = b"%032d" % ((tag << 40) + k)
    return stamp + bytes(_data[0][at + 32:at + BLOCK])


class Content:
    """What a file is to be: blocks, some of which were written anew."""
    def __init__(self, tag, size):
        self.tag = tag
        self.size = size
        self.blocks = -(-size // BLOCK)
        self.tags = {}

    def read(self, k, n):
        """Blocks k to k + n, as far as the file goes."""
        n = min(n, self.blocks - k)
        b = b"".join(block(self.tags.get(i, self.tag), i)
                     for i in range(k, k + n))
        return b[:self.size - k * BLOCK]

    def write(self, path, step=64):
        with open(path, "wb", buffering=0) as f:
            for k in range(0, self.blocks, step):
                b = self.read(k, step)
                assert f.write(b) == len(b)

    def rewrite(self, path, which, tag):
        """These blocks anew."""
        with open(path, "r+b", buffering=0) as f:
            for k in which:
                self.tags[k] = tag
                b = self.read(k, 1)
                f.seek(k * BLOCK)
                assert f.write(b) == len(b)

    def check(self, path, step=64):
        with open(path, "rb", buffering=0) as f:
            assert os.fstat(f.fileno()).st_size == self.size, path
            for k in range(0, self.blocks, step):
                want = self.read(k, step)
                got = f.read(len(want))
                while got and len(got) < len(want):
                    more = f.read(len(want) - len(got))
                    if not more:
                        break
                    got += more
                assert got == want, f"{path}: other bytes from {k * BLOCK} on"
            assert f.read(1) == b"", path

    def some(self, share, seed=0):
        """That share of its blocks."""
        return random.Random(seed + self.tag).sample(
            range(self.blocks), max(1, int(self.blocks * share)))


def disk_usage(top):
    """Bytes of disk that a directory takes, while it changes."""
    total = 0
    dirs = [top]
    while dirs:
        try:
            with os.scandir(dirs.pop()) as it:
                for e in it:
                    try:
                        total += e.stat(follow_symlinks=False).st_blocks * 512
                        if e.is_dir(follow_symlinks=False):
                            dirs.append(e.path)
                    except FileNotFoundError:
                        pass
        except FileNotFoundError:
            pass
    return total


class Gauge:
    """The most that directories take of the disk while it lasts."""
    def __init__(self, every=0.2, **dirs):
        self.dirs = dirs
        self.most = {name: 0 for name in dirs}
        self.samples = 0
        self.every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while True:
            for name, path in self.dirs.items():
                self.most[name] = max(self.most[name], disk_usage(path))
            self.samples += 1
            if self._stop.wait(self.every):
                break

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
