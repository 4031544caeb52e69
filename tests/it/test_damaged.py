# SPDX-License-Identifier: GPL-3.0-or-later
"""
Damage costs the bytes it covers and no others, and is named.  Each case is a
small datastore that differs from the undamaged one in one thing.
"""
import os
import struct

import pytest

from pbs3fs_test import check, fixtures, pbsgen
from pbs3fs_test.mount import run

CASES = fixtures.damaged_cases()
T1, T2 = "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"
ONE, TWO, VM = f"host/h1/{T1}", f"host/h1/{T2}", f"vm/100/{T1}"
LOG = "root/var/log/big.log"

# Chunks that are bad in every way a chunk can be.
BAD_CHUNK = ["chunk-truncated", "chunk-truncated-header", "chunk-empty",
             "chunk-header-only", "chunk-appended", "chunk-bitflip-data",
             "chunk-bitflip-crc", "chunk-bad-magic", "chunk-missing",
             "chunk-0bad"]

# Nothing in these may fail, differ, or be reported.
FINE = ["ok", "chunk-0bad-and-good", "chunk-unreferenced",
        "didx-reserved-nonzero", "manifest-unknown-keys", "no-lock",
        "compat-zstd-stream", "catalog-bad-magic", "catalog-bad-offset"]

INDEX_1 = f".cnt/{ONE}/root.pxar.didx"
INDEX_VM = f".cnt/{VM}/drive-scsi0.img.fidx"

# case: ({path: how it fails}, what .pbs3fs/errors has to name)
STRUCTURE = {
    **{case: ({f"{ONE}/root": "EIO"}, [INDEX_1]) for case in (
        "didx-truncated-entry", "didx-truncated-header", "didx-no-entries",
        "didx-empty-file", "didx-bad-magic")},
    **{case: ({f"{VM}/drive-scsi0.img": "EIO"}, [INDEX_VM]) for case in (
        "fidx-truncated", "fidx-bad-size", "fidx-chunk-size-0")},
    **{case: ({f"{ONE}/index.json": "EIO"},
              [f".cnt/{ONE}/index.json.blob"]) for case in (
        "manifest-crc", "manifest-not-json", "manifest-empty-file")},
    "blob-bitflip": ({f"{VM}/qemu-server.conf": "EIO"},
                     [f".cnt/{VM}/qemu-server.conf.blob"]),
    "pxar-truncated": ({f"{ONE}/root": "EIO"}, [INDEX_1]),
    "pxar-trailing": ({f"{ONE}/root": "EIO"}, [INDEX_1]),
}


@pytest.fixture(scope="session")
def stores(fx):
    return lambda case: os.path.join(fx["damaged"], case)


@pytest.fixture(scope="session")
def good(stores, scratch):
    """What the undamaged datastore reads as."""
    from pbs3fs_test.mount import Mount
    with Mount(stores("ok"), os.path.join(scratch, "good"),
               [f"cache={scratch}/gc", f"state={scratch}/gs"]) as m:
        failed, read = check.failures(m.path)
        assert failed == {}
        assert m.errors() == ""
    return without_status(read)


def without_status(read):
    return {p: v for p, v in read.items() if not p.startswith(".pbs3fs/")}


def look(stores, case, mounts, tmp):
    m = mounts(stores(case), f"cache={tmp}/c", f"state={tmp}/s")
    failed, read = check.failures(m.path)
    return m, failed, without_status(read)


def same_but_for(read, good, bad, case=None):
    """Everything outside of `bad` reads as in the undamaged store.  With a
    case: its checksums were made to fit, so its manifests are its own."""
    if case:
        for snap in (ONE, TWO, VM):
            with open(os.path.join(case, snap, "index.json.blob"), "rb") as f:
                want = pbsgen.decode(f.read())
            name = f"{snap}/index.json"
            assert b"".join(read[name][n] for n in sorted(read[name])) == want
            bad = [*bad, name]

    def outside(p):
        return not any(p == b or p.startswith(b + "/") for b in bad)

    want = {p: v for p, v in good.items() if outside(p)}
    got = {p: v for p, v in read.items() if outside(p)}
    assert want.keys() == got.keys()
    for p, v in want.items():
        assert got[p] == v, p


def chunk_content(store, digest):
    with open(os.path.join(store, ".chunks", digest[:4], digest), "rb") as f:
        return pbsgen.decode(f.read())


def chunks_of(case, path, filename):
    for g in fixtures.expected("damaged")[case]["groups"]:
        for s in g["snapshots"]:
            if f"{g['group']}/{s['snapshot'].rpartition('/')[2]}" == path:
                for a in s["archives"]:
                    if a["filename"] == filename:
                        return a["chunks"]
    raise KeyError(filename)


def log_range(stores, good, path, filename, digest):
    """Where in big.log the bytes of that chunk are, from the good store."""
    content = b"".join(good[f"{path}/{LOG}"][n]
                       for n in sorted(good[f"{path}/{LOG}"]))
    stream, begin, end = b"", None, None
    for stop, name, *_ in chunks_of("ok", path, filename):
        if name == digest:
            begin, end = len(stream), stop
        stream += chunk_content(stores("ok"), name)
        assert len(stream) == stop
    at = stream.index(content)
    return begin - at, end - at


def pages(begin, end):
    return list(range(begin // check.PAGE, (end - 1) // check.PAGE + 1))


@pytest.mark.sanitize
@pytest.mark.parametrize("case", FINE)
def test_fine(case, stores, good, mounts, tmp):
    m, failed, read = look(stores, case, mounts, tmp)
    assert failed == {}
    bad = []
    if case.startswith("catalog"):
        bad = [f"{ONE}/catalog.pcat1"]      # the good bytes are other bytes
        assert stream_of(stores(case), ONE, "catalog.pcat1.didx") == \
            b"".join(v for _, v in sorted(read[bad[0]].items()))
    same_but_for(read, good, bad, stores(case))
    assert m.errors() == ""


@pytest.mark.sanitize
@pytest.mark.parametrize("case", BAD_CHUNK)
def test_bad_chunk(case, stores, good, mounts, tmp):
    digest = CASES[case]["detail"]
    m, failed, read = look(stores, case, mounts, tmp)
    ranges = {f"{ONE}/{LOG}": log_range(stores, good, ONE, "root.pxar.didx",
                                        digest),
              f"{TWO}/{LOG}": log_range(stores, good, TWO, "root.ppxar.didx",
                                        digest)}
    assert failed == {p: pages(*r) for p, r in ranges.items()}
    # What is read of the damaged files is right, and all else is.
    for p in ranges:
        for n, b in read[p].items():
            assert b == good[p][n], (p, n)
    same_but_for(read, good, list(ranges))
    text = m.errors()
    assert f"chunk {digest} " in text
    for p, (begin, end) in ranges.items():
        assert f"    {p} bytes {begin}-{end}" in text.splitlines(), text
    assert text.count("chunk ") == 1
    assert digest in m.log()
    assert m.log().count(digest) <= 2, "logged more than once:\n" + m.log()
    # Looking changes nothing.
    name = os.path.join(stores(case), ".chunks", digest[:4], digest)
    there = case not in ("chunk-missing", "chunk-0bad")
    assert os.path.exists(name) == there


def test_missing_chunk_of_image(stores, good, mounts, tmp):
    case = "chunk-vm-missing"
    digest = CASES[case]["detail"]
    m, failed, read = look(stores, case, mounts, tmp)
    image = f"{VM}/drive-scsi0.img"
    assert failed == {image: pages(4 << 20, 8 << 20)}
    same_but_for(read, good, [image])
    assert f"    {image} bytes 4194304-8388608" in m.errors().splitlines()
    assert digest in m.errors()


def test_wrong_length(stores, good, mounts, tmp):
    """The chunks are right, but not where the first index has them."""
    m, failed, read = look(stores, "chunk-wrong-length", mounts, tmp)
    path = f"{ONE}/{LOG}"
    chunks = chunks_of("chunk-wrong-length", ONE, "root.pxar.didx")
    first = [c[1] for c in chunks].index(
        "97660383bc7688867ce5f1f81e5dc30106eed2a72834efb067d49781c52b9eb8")
    begin, _ = log_range(stores, good, ONE, "root.pxar.didx",
                         chunks[first][1])
    _, end = log_range(stores, good, ONE, "root.pxar.didx",
                       chunks[first + 1][1])
    assert failed == {path: pages(begin, end)}
    same_but_for(read, good, [path], stores("chunk-wrong-length"))
    for c in chunks[first:first + 2]:
        assert f"chunk {c[1]} " in m.errors()


@pytest.mark.sanitize
@pytest.mark.parametrize("case", STRUCTURE)
def test_structure(case, stores, good, mounts, tmp):
    want, named = STRUCTURE[case]
    m, failed, read = look(stores, case, mounts, tmp)
    assert failed == want
    same_but_for(read, good, list(want),
                 stores(case) if case.startswith("pxar") else None)
    text = m.errors()
    for n in named:
        assert f"object {n} " in text, text
        assert os.path.basename(n) in m.log()


@pytest.mark.parametrize("case,index", [
    ("didx-bad-csum-header", INDEX_1), ("fidx-bad-csum-header", INDEX_VM)])
def test_index_checksum(case, index, stores, good, mounts, tmp):
    """The table may be right after all: it is reported and read."""
    m, failed, read = look(stores, case, mounts, tmp)
    assert failed == {}
    same_but_for(read, good, [], stores(case))
    assert f"object {index} checksum " in m.errors()


def test_index_digest(stores, good, mounts, tmp):
    """A wrong digest costs the chunk that it names, and no other."""
    m, failed, read = look(stores, "didx-digest-flip", mounts, tmp)
    was = chunks_of("ok", ONE, "root.pxar.didx")
    now = chunks_of("didx-digest-flip", ONE, "root.pxar.didx")
    old, new = next((a[1], b[1]) for a, b in zip(was, now) if a[1] != b[1])
    path = f"{ONE}/{LOG}"
    begin, end = log_range(stores, good, ONE, "root.pxar.didx", old)
    assert failed == {path: pages(begin, end)}
    same_but_for(read, good, [path])
    assert f"object {INDEX_1} " in m.errors()
    assert f"chunk {new} is missing" in m.errors()


def check_entry(case, stores, good, mounts, tmp, affected, archive=INDEX_1):
    """Damage inside of an archive: those entries are gone or fail."""
    m, failed, read = look(stores, case, mounts, tmp)
    assert set(failed) <= set(affected)
    lost = good.keys() - read.keys()
    assert lost | set(failed) == set(affected)
    same_but_for(read, good, affected, stores(case))
    assert f"object {archive} " in m.errors(), m.errors()
    return failed


def test_bad_record(stores, good, mounts, tmp):
    check_entry("pxar-bad-header", stores, good, mounts, tmp,
                [f"{ONE}/root/etc/conf-00"])


def test_name_with_dots(stores, good, mounts, tmp):
    check_entry("pxar-name-dotdot", stores, good, mounts, tmp,
                damaged_names(stores, good, "pxar-name-dotdot"))


def test_record_too_small(stores, good, mounts, tmp):
    check_entry("pxar-header-small", stores, good, mounts, tmp,
                damaged_names(stores, good, "pxar-header-small"))


def stream_of(store, path, filename):
    """The decoded stream behind a dynamic index."""
    with open(os.path.join(store, path, filename), "rb") as f:
        table = f.read()[4096:]
    return b"".join(chunk_content(store, table[i + 8:i + 40].hex())
                    for i in range(0, len(table), 40))


def damaged_names(stores, good, case):
    """The entry in whose record the archive differs from the good one."""
    was = stream_of(stores("ok"), ONE, "root.pxar.didx")
    now = stream_of(stores(case), ONE, "root.pxar.didx")
    assert len(was) == len(now)
    at = next(i for i in range(len(was)) if was[i] != now[i])
    head = struct.pack("<Q", pbsgen.FILENAME)
    record = was.rindex(head, 0, at + 8)
    size, = struct.unpack_from("<Q", was, record + 8)
    name = was[record + 16:record + size - 1].decode()
    found = [p for p in good if p.startswith(ONE + "/root/")
             and f"/{name}" in p[len(ONE):] + "/"]
    assert found, name
    return [p for p in found
            if p.split("/")[-1] == name or f"/{name}/" in p]


def test_goodbye_offset(stores, good, mounts, tmp):
    failed = check_entry("pxar-goodbye-offset", stores, good, mounts, tmp,
                         [f"{ONE}/root/etc/conf-17"])
    assert set(failed.values()) <= {"EIO"}


def test_symlink_without_end(stores, good, mounts, tmp):
    """The format's own library drops the last byte of such a target."""
    m, failed, read = look(stores, "pxar-symlink-no-nul", mounts, tmp)
    link = f"{ONE}/root/etc/link"
    same_but_for(read, good, [link], stores("pxar-symlink-no-nul"))
    if failed:
        assert failed == {link: "EIO"}
        assert f"object {INDEX_1} " in m.errors()
    else:
        assert read[link] in (good[link], good[link][:-1])


def test_payload_stream_missing(stores, good, mounts, tmp):
    """All that needs the payload fails; it is the archive that is named."""
    m, failed, read = look(stores, "ppxar-missing", mounts, tmp)
    root = f"{TWO}/root"
    assert failed and all(p == root or p.startswith(root + "/")
                          for p in failed)
    assert all(v == "EIO" or isinstance(v, list) for v in failed.values())
    same_but_for(read, good, [root])
    assert "root.ppxar.didx" in m.errors()


def test_payload_header(stores, good, mounts, tmp):
    """One file's header in the payload stream is not the one promised."""
    m, failed, read = look(stores, "ppxar-header-mismatch", mounts, tmp)
    assert len(failed) == 1
    path, = failed
    assert path == f"{TWO}/root/etc/conf-05"
    same_but_for(read, good, [path], stores("ppxar-header-mismatch"))
    assert f"object .cnt/{TWO}/root." in m.errors()


@pytest.mark.parametrize("case,name", [
    ("manifest-missing-file", f"{VM}/qemu-server.conf"),
    ("manifest-extra-entry", f"{ONE}/home"),
])
def test_listed_but_absent(case, name, stores, good, mounts, tmp):
    """The manifest promises what the store does not have."""
    m, failed, read = look(stores, case, mounts, tmp)
    assert set(failed) <= {name}
    assert name not in read
    manifest = f"{os.path.dirname(name)}/index.json"
    same_but_for(read, good, [name, manifest])
    assert os.path.basename(name) in m.errors()


@pytest.mark.parametrize("case", ["manifest-wrong-csum",
                                  "manifest-wrong-size"])
def test_manifest_disagrees(case, stores, good, mounts, tmp):
    """Index and manifest contradict each other: that is reported, and what
    is read is checked chunk by chunk all the same."""
    m, failed, read = look(stores, case, mounts, tmp)
    assert set(failed) <= {f"{ONE}/root"}
    same_but_for(read, good, [f"{ONE}/index.json", *failed])
    assert "root.pxar.didx" in m.errors()


def test_manifest_of_another(stores, good, mounts, tmp):
    m, failed, read = look(stores, "manifest-other-snapshot", mounts, tmp)
    assert failed == {}
    assert f"host/h1/latest" in read


def test_unfinished(stores, good, mounts, tmp):
    """A snapshot without manifest does not exist, unless asked for."""
    m, failed, read = look(stores, "unfinished", mounts, tmp)
    assert failed == {}
    assert os.listdir(m / "host/h1").count(T2) == 0
    assert os.readlink(m / "host/h1/latest") == T1
    assert m.errors() == ""
    out = run("ls", stores("unfinished"), "host/h1").stdout
    assert T2 not in out
    out = run("ls", "--all", stores("unfinished"), "host/h1").stdout
    assert T2 in out


def test_owner(stores, mounts, tmp):
    m = mounts(stores("no-owner"), f"cache={tmp}/c", f"state={tmp}/s")
    groups = [os.path.join(t, g) for t in ("host", "vm")
              for g in os.listdir(m / t)]
    assert sorted(groups) == ["host/h1", "vm/100"]
    assert any("owner" not in os.listdir(m / g) for g in groups)
    m = mounts(stores("bad-owner"), f"cache={tmp}/c", f"state={tmp}/s")
    assert os.listdir(m / "host/h1")


@pytest.mark.parametrize("case", [c for c in CASES if c.startswith("enc-")])
def test_encrypted(case, stores, mounts, tmp):
    """Without the key nothing is read, so nothing is called damaged."""
    m, failed, read = look(stores, case, mounts, tmp)
    assert failed and set(failed.values()) == {"ENOKEY"}
    assert {p.rpartition("/")[2] for p in failed} == \
        {"root", "h1.conf", "catalog.pcat1"}
    assert f"{ONE}/index.json" in read
    assert m.errors() == ""
    assert "key" in m.log()


def test_all_cases_are_tested():
    mine = {*FINE, *BAD_CHUNK, *STRUCTURE, "chunk-vm-missing",
            "chunk-wrong-length", "pxar-bad-header", "pxar-name-dotdot",
            "pxar-header-small", "pxar-goodbye-offset",
            "pxar-symlink-no-nul", "ppxar-missing", "ppxar-header-mismatch",
            "manifest-missing-file", "manifest-extra-entry",
            "manifest-wrong-csum", "manifest-wrong-size",
            "didx-bad-csum-header", "fidx-bad-csum-header",
            "didx-digest-flip",
            "manifest-other-snapshot", "unfinished", "no-owner", "bad-owner"}
    assert {c for c in CASES if not c.startswith("enc-")} == mine


def test_damage_in_s3(bucket, good, mounts, tmp):
    """The same from S3: one more GET before a chunk is called damaged."""
    b = bucket("damaged/chunk-bitflip-data")
    digest = CASES["chunk-bitflip-data"]["detail"]
    m = mounts(b.store, f"cache={tmp}/c", f"state={tmp}/s", *b.options())
    mark = b.gateway.mark()
    failed, read = check.failures(m.path)
    assert set(failed) == {f"{ONE}/{LOG}", f"{TWO}/{LOG}"}
    gets = [r for r in b.gateway.requests(mark)
            if r.verb == "GET" and r.key.endswith(digest)]
    assert len(gets) >= 2
    assert all(r.status == 200 for r in gets)
    assert digest in m.errors()
    # Not in the cache, so that a mended object is seen.
    cached = os.path.join(tmp, "c/data/.chunks", digest[:4], digest)
    assert not os.path.exists(cached)
    same_but_for(without_status(read), good, list(failed))
