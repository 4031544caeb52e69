# SPDX-License-Identifier: GPL-3.0-or-later
"""-o fsync=s3: what fsync(2) was answered for is in the bucket, and needs the
staging area no more."""
import errno
import glob
import os
import shutil
import threading

import pytest

from pbs3fs_test import pbsgen, writing
from pbs3fs_test.paths import SLOW

pytestmark = pytest.mark.sanitize

STREAM = pbsgen.noise(9 << 20, 1)
PATCH = pbsgen.noise(50_000, 2)
SMALL = [pbsgen.noise(3000 + i, 10 + i) for i in range(20)]


@pytest.fixture
def site(new_bucket, tmp):
    b = new_bucket({}, "none")
    store = f"s3://{b.name}/store"
    writing.run("create", "-q", store, "-o", ",".join(b.options()))
    s = writing.Site(store, tmp, [*b.options(), "fsync=s3"])
    s.bucket, s.gateway = b.name, b.gateway
    dog = threading.Timer(110 * SLOW, s.abort)
    dog.daemon = True
    dog.start()
    yield s
    dog.cancel()
    s.stop(check=False)


def chunks(site):
    """The bytes of all chunks in the bucket."""
    client = site.gateway.client()
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=site.bucket, Prefix="store/.chunks/")
    return [pbsgen.decode(client.get_object(
        Bucket=site.bucket, Key=o["Key"])["Body"].read())
        for page in pages for o in page.get("Contents", [])]


def is_in(data, pieces):
    """Whether each 1000 bytes are, but for those that a chunk ends in."""
    missing = sum(not any(data[i:i + 1000] in c for c in pieces)
                  for i in range(0, len(data), 1000))
    return missing <= len(pieces)


def write(path, data, off=0):
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    assert os.pwrite(fd, data, off) == len(data)
    os.fsync(fd)
    os.close(fd)


def build(top):
    """Each as soon as it has been synced is in the bucket."""
    os.mkdir(top + "/data")
    yield "stream", STREAM, write(top + "/dump", STREAM)
    fd = os.open(top + "/disk.img", os.O_CREAT | os.O_RDWR, 0o644)
    os.ftruncate(fd, 12 << 20)
    os.pwrite(fd, PATCH, 5 << 20)
    os.fsync(fd)
    yield "image", PATCH, os.close(fd)
    for i, data in enumerate(SMALL):
        yield "file", data, write(f"{top}/data/{i}", data)


def check(top):
    with open(top + "/dump", "rb") as f:
        assert f.read() == STREAM
    with open(top + "/disk.img", "rb") as f:
        image = f.read()
    assert image == bytes(5 << 20) + PATCH + bytes((7 << 20) - len(PATCH))
    for i, data in enumerate(SMALL):
        with open(f"{top}/data/{i}", "rb") as f:
            assert f.read() == data


def lose_staging(site):
    found = glob.glob(site.local + "/state/**/data", recursive=True)
    assert found
    for path in found:
        shutil.rmtree(path)


def test_in_the_bucket(site):
    m = site.mount()
    top = writing.begin(m)
    for what, data, _ in build(top):
        if what != "file" or data is SMALL[-1]:
            assert is_in(data, chunks(site)), what
    assert m.status()["writing"]["unsent"] == 0
    m.kill()
    lose_staging(site)
    m = site.mount()
    top = writing.begin(m)
    check(top)
    path = writing.publish(m)
    m.stop()
    site.forget_host()
    m = site.mount(mode="ro")
    check(m / path)
    m.stop()


def test_what_was_not_synced(site):
    """It is lost with the staging area, which is told; the rest of the file is
    not."""
    m = site.mount()
    top = writing.begin(m)
    for _ in build(top):
        pass
    fd = os.open(top + "/disk.img", os.O_RDWR)
    os.pwrite(fd, b"late" * 1024, 1 << 20)
    os.close(fd)
    m.kill()
    lose_staging(site)
    m = site.mount()
    top = writing.begin(m)
    fd = os.open(top + "/disk.img", os.O_RDWR)
    assert os.pread(fd, len(PATCH), 5 << 20) == PATCH
    with pytest.raises(OSError) as e:
        os.pread(fd, 4096, 1 << 20)
    assert e.value.errno == errno.EIO
    with pytest.raises(OSError) as e:
        writing.publish(m)
    assert e.value.errno == errno.EIO and "disk.img" in m.log()
    os.pwrite(fd, bytes(4096), 1 << 20)
    os.fsync(fd)
    os.close(fd)
    path = writing.publish(m)
    check(m / path)
    m.stop()
