# SPDX-License-Identifier: GPL-3.0-or-later
"""Every byte and attribute of real datastores, from wherever they are."""
import hashlib
import os
import subprocess

import pytest

from pbs3fs_test import check, fixtures, listing
from pbs3fs_test.mount import run
from pbs3fs_test.paths import PBS3FS

EXPECTED = {"plain": "plain", "s3-bucket": "s3",
            "encrypted": "encrypted-without-keys"}


@pytest.fixture(scope="session")
def directory(fx, scratch):
    """directory(name): a fixture as a local datastore."""
    def get(name):
        if name != "s3-bucket":
            return fx[name]
        # A bucket laid out as the server lays out its local copy of it.
        top = os.path.join(scratch, "s3-as-directory")
        if not os.path.isdir(top):
            for key, path in fixtures.bucket_objects(fx[name]):
                rel = key.partition("/")[2]
                if rel.startswith(".cnt/"):
                    rel = rel[5:]
                if rel.endswith("/.namespace"):
                    os.makedirs(os.path.join(top, rel[:-11]), exist_ok=True)
                    continue
                to = os.path.join(top, rel)
                os.makedirs(os.path.dirname(to), exist_ok=True)
                os.link(path, to)
        return top
    return get


@pytest.mark.sanitize
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", EXPECTED)
def test_directory(name, directory, mounts, tmp):
    m = mounts(directory(name), f"cache={tmp}/c", f"state={tmp}/s")
    n, locked = check.everything(m.path, without_keys(name))
    assert (locked > 0) == (name != "plain")
    assert m.errors() == ""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("name", EXPECTED)
def test_s3(name, tls, bucket, mounts, tmp):
    b = bucket(name)
    m = mounts(b.store, f"cache={tmp}/c", f"state={tmp}/s", *b.options(tls))
    check.everything(m.path, without_keys(name))
    assert m.errors() == ""


def without_keys(name):
    """s3.json was made with the key of one of its groups; we have none."""
    e = fixtures.expected(EXPECTED[name])
    for g in e["groups"]:
        for s in g["snapshots"]:
            for a in s["archives"]:
                kinds = {c[3] for c in a.get("chunks", ())}
                kinds.add(a.get("blob", {}).get("kind"))
                if kinds & {"enc", "enc-zstd"}:
                    a.pop("content_sha256", None)
                    a.pop("pxar", None)
            if s.get("client_log", {}).get("kind", "").startswith("enc"):
                s["client_log"].pop("content_sha256", None)
    return e


def archives(name, kind):
    """(path in the store, archive) of all that can be read."""
    e = without_keys(name)
    for g in e["groups"]:
        for when, s in check.snapshots(g).items():
            for shown, (k, a) in check.merged(s).items():
                if k == kind and check.readable(a):
                    yield os.path.join(check.group_path(g), when, shown), a


def in_tar(pxar):
    """What a tar stream can hold of an archive: no sockets, and no fraction
    in the second before 1970, whose sign libarchive has no place for."""
    records = listing.without_sockets(listing.from_expected(pxar))
    for r in records.values():
        if r["mtime"][0] == -1:
            r["mtime"] = [0, 0]
    return records


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["plain", "s3-bucket"])
def test_export_trees(name, directory, tmp):
    store = directory(name)
    done = 0
    for path, a in archives(name, "tree"):
        out = os.path.join(tmp, "tar")
        with open(out, "wb") as f:
            export(store, path, tmp, f)
        with open(out, "rb") as f:
            got = listing.from_tar(f)
        listing.assert_same(in_tar(a["pxar"]), got, path)
        done += 1
    assert done


@pytest.mark.parametrize("kind", ["image", "stream", "blob"])
def test_export_files(kind, directory, tmp):
    done = 0
    for path, a in archives("plain", kind):
        out = os.path.join(tmp, "out")
        with open(out, "wb") as f:
            export(directory("plain"), path, tmp, f)
        size, digest = listing.sha256_file(out)
        assert digest == a["content_sha256"], path
        done += 1
    assert done


@pytest.mark.timeout(300)
def test_export_from_s3(bucket, tmp):
    b = bucket("s3-bucket")
    done = 0
    for kind in ("tree", "image"):
        for path, a in archives("s3-bucket", kind):
            out = os.path.join(tmp, "out")
            with open(out, "wb") as f:
                export(b.store, path, tmp, f, *b.options())
            if kind == "tree":
                with open(out, "rb") as f:
                    got = listing.from_tar(f)
                listing.assert_same(in_tar(a["pxar"]), got, path)
            else:
                assert listing.sha256_file(out)[1] == a["content_sha256"]
            done += 1
    assert done


def test_export_names_sockets(directory, tmp):
    """A tar stream has no room for a socket: that is said, not hidden."""
    for path, a in archives("plain", "tree"):
        if any(e["type"] == "socket" for e in a["pxar"]["list"]):
            break
    with open(os.path.join(tmp, "out"), "wb") as f:
        p = export(directory("plain"), path, tmp, f)
    assert "socket" in p.stderr.lower()


def export(store, path, tmp, out, *opts):
    """pbs3fs export to a file; returns what became of it."""
    p = subprocess.run(
        [PBS3FS, "export", store, path, "-o",
         ",".join([f"cache={tmp}/c", f"state={tmp}/s", *opts])],
        stdout=out, stderr=subprocess.PIPE, text=True)
    assert p.returncode == 0, p.stderr
    return p


def test_cat(directory, tmp):
    done = 0
    for path, a in archives("plain", "blob"):
        p = run("cat", directory("plain"), path, text=False)
        assert hashlib.sha256(p.stdout).hexdigest() == a["content_sha256"]
        done += 1
    assert done
