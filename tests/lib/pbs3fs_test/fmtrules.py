# SPDX-License-Identifier: GPL-3.0-or-later
"""
The rules for the files of a datastore, each as a function of bytes or names
that raises Wrong: format document sections 1 to 5, 8 and 9.
"""
import calendar
import hashlib
import json
import re
import stat
import struct
import time
import typing
import zlib

import zstandard

from . import pbsgen, pbskey
from .fmtpxar import Wrong, expect

SAFE = r"[A-Za-z0-9_][A-Za-z0-9._\-]*"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
NS = rf"(?:ns/{SAFE}/)*"
GROUP_FILE = re.compile(rf"({NS}(?:vm|ct|host)/{SAFE})/(owner|notes)")
SNAP_FILE = re.compile(rf"(({NS}(vm|ct|host)/({SAFE}))/({TIME}))/([^/]+)")
NS_DIR = re.compile(rf"{NS}(?:ns/{SAFE})")
MARKER = re.compile(rf"({NS}ns/{SAFE})/\.namespace")
CHUNK = re.compile(r"\.chunks/([0-9a-f]{4})/\1[0-9a-f]{60}")
CHUNK_DIR = re.compile(r"\.chunks(?:/[0-9a-f]{4})?")
OTHER_DIR = re.compile(
    rf"(?:{NS}(?:ns|(?:ns/{SAFE})|(?:vm|ct|host)"
    rf"(?:/{SAFE}(?:/{TIME})?)?))")
ARCHIVE = re.compile(rf"{SAFE}\.(fidx|didx|blob)")
BAD = re.compile(r"\.\d\.bad$")
TEMP = re.compile(r"\.tmp(_\w*)?$")
OWN = re.compile(r"\.pbs3fs(/.*)?")
OWNER = re.compile(
    rf"[^\s:/\x00-\x1f\x7f]+@{SAFE}(?:!{SAFE})?\n")
FINGERPRINT = re.compile(r"(?:[0-9a-f]{2}:){31}[0-9a-f]{2}")
UPID = re.compile(
    r"UPID:[a-zA-Z0-9](?:[a-zA-Z0-9\-]*[a-zA-Z0-9])?:[0-9A-Fa-f]{8}:"
    r"[0-9A-Fa-f]{8,9}:[0-9A-Fa-f]{8,16}:[0-9A-Fa-f]{8}:[^:\s]+:[^:\s]*:"
    r"[^:\s]+:")

MIB = 1 << 20
ENCRYPTED = (pbskey.ENC, pbskey.ENC_ZSTD)
MANIFEST = "index.json.blob"
UNLISTED = (MANIFEST, "client.log.blob", ".protected")
MASTER_KEY = "rsa-encrypted.key.blob"


# Blobs and chunks.

def check_blob_magic(raw):
    """The kind of a blob; its header's length."""
    expect(len(raw) >= 12, "blob-length", f"{len(raw)} bytes are no blob")
    magic = raw[:8]
    expect(magic in (pbsgen.RAW, pbsgen.ZSTD, *ENCRYPTED), "blob-magic",
           magic.hex())
    head = 44 if magic in ENCRYPTED else 12
    expect(len(raw) >= head, "blob-length",
           f"{len(raw)} bytes are no encrypted blob")
    return magic, head


def check_blob_crc(raw, head):
    """Neither IV nor tag are in it."""
    want, have = struct.unpack("<I", raw[8:12])[0], zlib.crc32(raw[head:])
    expect(want == have, "blob-crc", f"{have:08x} and not {want:08x}")


def check_frame(body):
    """One frame with its size, no checksum and no dictionary, that pays; what
    is in it."""
    try:
        p = zstandard.get_frame_parameters(body)
    except zstandard.ZstdError as e:
        raise Wrong("zstd-frame", str(e)) from None
    expect(p.content_size != zstandard.CONTENTSIZE_UNKNOWN, "zstd-size",
           "the frame does not have the size of its content")
    expect(p.dict_id == 0, "zstd-frame", "the frame has a dictionary")
    expect(not p.has_checksum, "zstd-frame", "the frame has a checksum")
    expect(p.content_size <= 128 * MIB, "zstd-frame",
           f"the frame says {p.content_size} bytes")
    d = zstandard.ZstdDecompressor().decompressobj()
    try:
        content = d.decompress(body)
    except zstandard.ZstdError as e:
        raise Wrong("zstd-frame", str(e)) from None
    expect(d.eof, "zstd-frame", "the frame is cut")
    expect(d.unused_data == b"", "zstd-frame",
           f"{len(d.unused_data)} bytes behind the frame")
    expect(len(content) == p.content_size, "zstd-size",
           f"{len(content)} bytes and not {p.content_size}")
    expect(len(body) <= len(content), "zstd-gain",
           f"{len(body)} bytes for {len(content)}")
    return content


def check_blob(raw, key=None):
    """(content or None without its key, is encrypted)"""
    magic, head = check_blob_magic(raw)
    check_blob_crc(raw, head)
    body = raw[head:]
    if magic in ENCRYPTED:
        if key is None:
            return None, True
        body = check_cipher(raw, key)
    if magic in (pbsgen.ZSTD, pbskey.ENC_ZSTD):
        body = check_frame(body)
    return body, magic in ENCRYPTED


def check_cipher(raw, key):
    """AES-256-GCM with an IV of 16 bytes and nothing beside it."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    try:
        return AESGCM(key.raw).decrypt(raw[12:28], raw[44:] + raw[28:44],
                                       None)
    except InvalidTag:
        raise Wrong("blob-tag", "it is not what was encrypted") from None


def check_chunk_stored(raw):
    expect(len(raw) > 0, "chunk-empty", "an empty file in a chunk's place")
    expect(13 <= len(raw) <= 16 * MIB + 44, "chunk-stored",
           f"{len(raw)} bytes cannot be uploaded as a chunk")


def check_chunk_digest(content, name, key):
    """The key's own comes behind the content."""
    have = hashlib.sha256(content + (key.id_key if key else b"")).hexdigest()
    expect(have == name, "chunk-digest", f"the content is {have}")


# Indices.

class Index(typing.NamedTuple):
    fixed: bool
    entries: list       # (start, end, digest in hex)
    size: int
    csum: str           # of the table


def check_index_header(raw, fixed):
    expect(len(raw) >= 4096, "index-length", f"{len(raw)} bytes are no index")
    expect(raw[:8] == (pbsgen.FIDX if fixed else pbsgen.DIDX), "index-magic",
           raw[:8].hex())
    expect(not any(raw[80 if fixed else 64:4096]), "index-reserved",
           "reserved bytes are not zero")


def check_fixed_length(raw):
    """(size, bytes of a chunk)"""
    size, chunk = struct.unpack("<QQ", raw[64:80])
    expect(chunk > 0 and chunk & (chunk - 1) == 0, "index-chunk-size",
           f"{chunk} is no power of two")
    expect(chunk == pbsgen.FIXED_CHUNK, "index-chunk-size",
           f"{chunk} is not that of the server")
    expect(size > 0, "index-empty", "an image of 0 bytes cannot be read")
    want = 4096 + 32 * -(-size // chunk)
    expect(len(raw) == want, "index-length",
           f"{len(raw)} bytes and not {want} for an image of {size}")
    return size, chunk


def check_dynamic_length(raw):
    expect((len(raw) - 4096) % 40 == 0, "index-length",
           f"{len(raw)} bytes are no whole entries")
    expect(len(raw) > 4096, "index-empty", "no entries")


def check_ends(ends):
    """They rise, by no more than a chunk can have."""
    last = 0
    for end in ends:
        expect(last < end, "index-ends", f"{end} after {last}")
        expect(end - last <= 16 * MIB, "index-ends",
               f"a chunk of {end - last} bytes")
        last = end


def check_index_csum(raw):
    have = hashlib.sha256(raw[4096:]).hexdigest()
    expect(raw[32:64].hex() == have, "index-csum",
           f"the header has {raw[32:64].hex()}, the table is {have}")
    return have


def check_index(raw, fixed):
    check_index_header(raw, fixed)
    if fixed:
        size, chunk = check_fixed_length(raw)
        digests = [raw[i:i + 32].hex() for i in range(4096, len(raw), 32)]
        ends = [min((i + 1) * chunk, size) for i in range(len(digests))]
    else:
        check_dynamic_length(raw)
        rows = list(struct.iter_unpack("<Q32s", raw[4096:]))
        digests = [d.hex() for _, d in rows]
        ends = [e for e, _ in rows]
        check_ends(ends)
    entries = list(zip([0] + ends, ends, digests))
    return Index(fixed, entries, ends[-1], check_index_csum(raw))


# Manifests.

FIELDS = {"backup-id": str, "backup-time": int, "backup-type": str,
          "files": list, "signature": (str, type(None)), "unprotected": dict}
FILE_FIELDS = {"crypt-mode": str, "csum": str, "filename": str, "size": int}
STATS = ("compressed_size", "count", "duplicates", "size")


def is_a(value, kind):
    return isinstance(value, kind) and not isinstance(value, bool)


def check_fields(have, want, what):
    expect(isinstance(have, dict), "manifest-fields", f"{what} is no object")
    expect(set(have) == set(want), "manifest-fields",
           f"{what} has {sorted(have)}")
    for name, kind in want.items():
        expect(is_a(have[name], kind), "manifest-fields",
               f"{name} of {what} is {have[name]!r}")


def check_json(text):
    """UTF-8, no key twice."""
    def pairs(found):
        expect(len({k for k, _ in found}) == len(found), "manifest-json",
               "a key comes twice")
        return dict(found)

    try:
        return json.loads(text.decode(), object_pairs_hook=pairs)
    except ValueError as e:
        raise Wrong("manifest-json", str(e)) from None


def check_manifest_text(text, doc):
    """As Proxmox Backup prints it."""
    want = json.dumps(doc, indent=2, sort_keys=True, ensure_ascii=False)
    expect(text == want.encode(), "manifest-text",
           "it is not printed with sorted keys and two spaces")


def check_manifest_fields(doc):
    check_fields(doc, FIELDS, "the manifest")
    for f in doc["files"]:
        check_fields(f, FILE_FIELDS, "a file")
        expect(ARCHIVE.fullmatch(f["filename"]), "manifest-name",
               f"{f['filename']!r} is no archive's name")
        expect(f["filename"] not in UNLISTED, "manifest-name",
               f"{f['filename']} is listed")
        expect(re.fullmatch("[0-9a-f]{64}", f["csum"]), "manifest-fields",
               f"csum {f['csum']!r}")
        expect(f["size"] >= 0, "manifest-fields", f"size {f['size']}")
        expect(f["crypt-mode"] in ("none", "encrypt", "sign-only"),
               "manifest-fields", f"crypt-mode {f['crypt-mode']!r}")
    names = [f["filename"] for f in doc["files"]]
    expect(len(set(names)) == len(names), "manifest-name",
           "a name comes twice")


def check_manifest_place(doc, kind, ident, when):
    stamp = calendar.timegm(time.strptime(when, "%Y-%m-%dT%H:%M:%SZ"))
    have = doc["backup-type"], doc["backup-id"], doc["backup-time"]
    expect(have == (kind, ident, stamp), "manifest-place",
           f"it is that of {have}")


def check_manifest_order(names):
    """The payload before what refers to it; a catalog after its archives."""
    for i, name in enumerate(names):
        base = name.removesuffix(".mpxar.didx")
        if base != name:
            expect(base + ".ppxar.didx" in names[:i], "manifest-order",
                   f"{name} has no payload before it")
        base = name.removesuffix(".ppxar.didx")
        if base != name:
            expect(base + ".mpxar.didx" in names, "manifest-order",
                   f"{name} is referred to by nothing")
    v1 = [n for n in names if n.endswith(".pxar.didx")]
    if "catalog.pcat1.didx" in names:
        at = names.index("catalog.pcat1.didx")
        expect(all(n in names[:at] for n in v1), "manifest-order",
               "the catalog comes before an archive")
        expect(v1, "manifest-catalog", "a catalog of nothing")
    else:
        expect(not v1, "manifest-catalog", f"no catalog of {v1}")


def check_unprotected(u):
    for name, kind in (("notes", str), ("key-fingerprint", str),
                       ("verify_state", dict), ("chunk_upload_stats", dict)):
        expect(name not in u or is_a(u[name], kind), "manifest-unprotected",
               f"{name} is {u.get(name)!r}")
    if "key-fingerprint" in u:
        expect(FINGERPRINT.fullmatch(u["key-fingerprint"]),
               "manifest-fingerprint", u["key-fingerprint"])
    if "verify_state" in u:
        v = u["verify_state"]
        expect(set(v) == {"state", "upid"} and v["state"] in ("ok", "failed"),
               "manifest-verify", f"{v}")
        expect(is_a(v["upid"], str) and UPID.fullmatch(v["upid"]),
               "manifest-verify", f"upid {v['upid']!r}")
    if "chunk_upload_stats" in u:
        s = u["chunk_upload_stats"]
        expect(sorted(s) == list(STATS) and
               all(is_a(v, int) and v >= 0 for v in s.values()),
               "manifest-unprotected", f"chunk_upload_stats {s}")


def check_signature(doc, keys):
    """The key that the snapshot was made with, if it is at hand."""
    print_ = doc["unprotected"].get("key-fingerprint")
    if doc["signature"] is None:
        expect(all(f["crypt-mode"] == "none" for f in doc["files"]),
               "manifest-signature", "encrypted or signed, and no signature")
        return None
    expect(re.fullmatch("[0-9a-f]{64}", doc["signature"]),
           "manifest-signature", doc["signature"])
    expect(print_ is not None, "manifest-fingerprint",
           "a signature and no fingerprint")
    key = next((k for k in keys if k.fingerprint == print_), None)
    expect(key is None or key.sign(doc) == doc["signature"],
           "manifest-signature", "it is not that of the manifest")
    expect(key is not None or
           not any(k.sign(doc) == doc["signature"] for k in keys),
           "manifest-fingerprint", "it is not that of the key")
    return key


def check_listed(names, present):
    """The same files in the manifest and beside it."""
    for name in names:
        expect(name in present, "file-missing", f"{name} is listed")
    for name in present:
        expect(name in names or name in UNLISTED, "file-unlisted", name)


def check_entry_index(entry, x):
    expect(entry["size"] == x.size, "manifest-size",
           f"{entry['size']} and the stream has {x.size}")
    expect(entry["csum"] == x.csum, "manifest-csum",
           f"{entry['csum']} and the table is {x.csum}")


def check_entry_blob(entry, raw):
    """Of the file as it is stored, with its header."""
    have = hashlib.sha256(raw).hexdigest()
    expect(entry["size"] == len(raw), "manifest-size",
           f"{entry['size']} and the file has {len(raw)}")
    expect(entry["csum"] == have, "manifest-csum",
           f"{entry['csum']} and the file is {have}")
    expect(len(raw) <= 16 * MIB + 44, "blob-length",
           f"{len(raw)} bytes cannot be uploaded")


def check_entry_kind(entry, encrypted):
    want = entry["crypt-mode"] == "encrypt" and \
        entry["filename"] != MASTER_KEY
    expect(encrypted == want, "crypt-kind",
           f"crypt-mode {entry['crypt-mode']} and it is "
           f"{'encrypted' if encrypted else 'plain'}")


# What is where.

def check_name(name, s3):
    """Nothing but what the server would put there."""
    if OWN.fullmatch(name):
        return
    expect(not TEMP.search(name), "temp-file", "left over")
    if s3:
        expect(name == ".in-use" or CHUNK.fullmatch(BAD.sub("", name)) or
               GROUP_FILE.fullmatch(name) or SNAP_FILE.fullmatch(name) or
               MARKER.fullmatch(name), "stray-key", "no server puts it there")
    else:
        expect(name in (".lock", ".gc-status") or
               CHUNK.fullmatch(BAD.sub("", name)) or
               GROUP_FILE.fullmatch(name) or SNAP_FILE.fullmatch(name),
               "stray-key", "no server puts it there")
    m = SNAP_FILE.fullmatch(name)
    if m:
        check_time(m[5])
        expect(m[6] == ".protected" or ARCHIVE.fullmatch(m[6]), "stray-key",
               "no file of a snapshot")
    check_ns_limits(name)
    expect(len(name) <= 1024, "stray-key", "longer than a key may be")


def check_time(text):
    try:
        stamp = calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        raise Wrong("snapshot-time", f"{text} never was") from None
    expect(stamp >= 1, "snapshot-time", f"{text} is before all time")


def ns_of(name):
    """The components of the namespace that a name is in."""
    parts = name.split("/")
    out = []
    while len(parts) > 1 and parts[0] == "ns":
        out.append(parts[1])
        parts = parts[2:]
    return out


def check_ns_limits(name):
    ns = ns_of(name)
    expect(len(ns) <= 7, "namespace-depth", f"{len(ns)} levels")
    expect(len("/".join(ns)) <= 256, "namespace-length", "over 256 bytes")


def check_owner(raw):
    try:
        text = raw.decode()
    except ValueError:
        raise Wrong("owner-syntax", repr(raw[:80])) from None
    expect(OWNER.fullmatch(text), "owner-syntax", repr(text[:80]))


def check_in_use(raw):
    try:
        doc = json.loads(raw)
    except ValueError:
        raise Wrong("in-use", repr(raw[:80])) from None
    expect(isinstance(doc, dict) and set(doc) <= {"hostname"} and
           all(isinstance(v, str) for v in doc.values()), "in-use", f"{doc}")


def check_mode(st, mode, uid, gid):
    expect(stat.S_IMODE(st.st_mode) == mode, "mode",
           f"{stat.S_IMODE(st.st_mode):o} and not {mode:o}")
    expect((st.st_uid, st.st_gid) == (uid, gid), "file-owner",
           f"{st.st_uid}:{st.st_gid} and not {uid}:{gid}")
