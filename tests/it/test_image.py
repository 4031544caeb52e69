# SPDX-License-Identifier: GPL-3.0-or-later
"""A file system inside of an image inside of the mount."""
import hashlib
import os
import shutil
import subprocess

import pytest

from conftest import need
from pbs3fs_test import fixtures, pbsgen

SIZE = 512 << 20


@pytest.fixture
def disk(new_bucket, tmp):
    """An ext4 of 512 MiB with 60 MiB of files, in a bucket."""
    need(shutil.which("mkfs.ext4"), "mkfs.ext4")
    tree = os.path.join(tmp, "tree")
    os.makedirs(tree + "/etc")
    with open(tree + "/etc/hostname", "w") as f:
        f.write("inside\n")
    for i in range(60):
        with open(f"{tree}/data{i:02}", "wb") as f:
            f.write(pbsgen.noise(1 << 20, i))
    image = os.path.join(tmp, "image")
    with open(image, "wb") as f:
        f.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", tree, image], check=True)
    top = os.path.join(tmp, "store")
    s = pbsgen.Store(top)
    snap = s.snapshot("vm", "1")
    pieces = []
    with open(image, "rb") as f:
        while True:
            b = f.read(4 << 20)
            if not b:
                break
            pieces.append(s.put(b))
    snap.fixed_digests("d.img.fidx", pieces, SIZE)
    snap.finish()
    b = new_bucket(fixtures.store_objects(top, "store"))
    b.image = os.path.join(snap.rel, "d.img")
    b.chunks = len(set(pieces))
    shutil.rmtree(top)
    os.unlink(image)
    return b


def test_ext4(disk, mounts, tmp):
    m = mounts(disk.store, f"cache={tmp}/c", f"state={tmp}/s",
               *disk.options())
    image = m / disk.image
    assert os.path.getsize(image) == SIZE
    mark = disk.gateway.mark()
    p = subprocess.run(["fsck.ext4", "-n", "-f", image],
                       stdout=subprocess.PIPE, text=True)
    assert p.returncode == 0, p.stdout
    inside = os.path.join(tmp, "inside")
    os.mkdir(inside)
    loop = subprocess.run(["losetup", "-r", "-f", "--show", image],
                          stdout=subprocess.PIPE, check=True,
                          text=True).stdout.strip()
    try:
        subprocess.run(["mount", "-t", "ext4", "-o", "ro,noload", loop,
                        inside], check=True)
        try:
            with open(inside + "/etc/hostname") as f:
                assert f.read() == "inside\n"
            assert len(os.listdir(inside)) == 62
            gets = disk.gateway.counts(mark)["GET"]
            assert gets - 1 <= disk.chunks // 2, \
                f"{gets} GETs for the metadata of {disk.chunks} chunks"
            for i in range(60):
                with open(f"{inside}/data{i:02}", "rb") as f:
                    assert hashlib.sha256(f.read()).digest() == \
                        hashlib.sha256(pbsgen.noise(1 << 20, i)).digest()
        finally:
            subprocess.run(["umount", inside], check=True)
    finally:
        subprocess.run(["losetup", "-d", loop], check=True)
    assert disk.gateway.counts(mark)["GET"] <= disk.chunks + 1


def test_holes(mounts, tmp):
    """SEEK_HOLE and SEEK_DATA know the chunks of zeros."""
    top = os.path.join(tmp, "store")
    s = pbsgen.Store(top)
    snap = s.snapshot("vm", "1")
    zero = bytes(4 << 20)
    snap.fixed("d.img.fidx", [pbsgen.noise(4 << 20), zero, zero,
                              pbsgen.noise(4 << 20, 1), zero])
    snap.finish()
    m = mounts(top, f"cache={tmp}/c", f"state={tmp}/s")
    path = m / snap.rel + "/d.img"
    fd = os.open(path, os.O_RDONLY)
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 4 << 20
    assert os.lseek(fd, 4 << 20, os.SEEK_DATA) == 12 << 20
    assert os.lseek(fd, 12 << 20, os.SEEK_HOLE) == 16 << 20
    assert os.lseek(fd, 0, os.SEEK_END) == 20 << 20
    os.close(fd)
