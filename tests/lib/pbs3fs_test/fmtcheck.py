# SPDX-License-Identifier: GPL-3.0-or-later
"""
Whether a datastore is one that Proxmox Backup reads, sweeps and syncs: the
rules of the format document's section 13 and what they rest on, byte by byte.
Uses nothing of the program's code.

    problems = check(Directory(path))
    problems = check(Bucket({key: bytes}, "store"), keys=[Key.load(path)])

Each problem has the name of a rule, the object, and a text.
"""
import calendar
import collections
import hashlib
import json
import os
import re
import stat
import struct
import time
import typing
import zlib

import zstandard

from . import pbsgen, pbskey
from .fmtpxar import Archive, Catalog, Wrong, check_payload, check_refs, expect

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


class Problem(typing.NamedTuple):
    rule: str
    where: str
    text: str

    def __str__(self):
        return f"{self.where}: {self.rule}: {self.text}"


class Directory:
    """A datastore in a directory."""
    s3 = False

    def __init__(self, path):
        self.path = path
        self.files, self.dirs = [], [""]
        for parent, dirs, files in os.walk(path):
            rel = os.path.relpath(parent, path)
            rel = "" if rel == "." else rel + "/"
            self.files += [rel + f for f in files]
            self.dirs += [rel + d for d in dirs]
        self.files.sort()
        self.dirs.sort()

    def read(self, name):
        with open(os.path.join(self.path, name), "rb") as f:
            return f.read()

    def stat(self, name):
        return os.lstat(os.path.join(self.path, name))


class Bucket:
    """
    The objects of one: {key: bytes, or the path of a file}.  Names are those
    that a directory would have; what is elsewhere keeps its whole key.
    """
    s3 = True
    dirs = ()

    def __init__(self, objects, datastore):
        self.objects = {}
        for key, value in dict(objects).items():
            name = key
            if key.startswith(datastore + "/"):
                name = key[len(datastore) + 1:]
                if name.startswith(".cnt/"):
                    name = name[5:]
                elif not name.startswith((".chunks/", ".pbs3fs/")) and \
                        name != ".in-use":
                    name = key
            self.objects[name] = value
        self.files = sorted(self.objects)

    def read(self, name):
        value = self.objects[name]
        if isinstance(value, bytes):
            return value
        with open(value, "rb") as f:
            return f.read()


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


class Stream:
    """What an index stands for, of chunks that have been checked."""
    KEEP = 4

    def __init__(self, checker, x, key):
        self.checker = checker
        self.x = x
        self.key = key
        self.ends = [e for _, e, _ in x.entries]
        self.size = x.size
        self.at = 0
        self.cache = collections.OrderedDict()

    def piece(self, i):
        if i not in self.cache:
            if len(self.cache) == self.KEEP:
                self.cache.popitem(last=False)
            digest = self.x.entries[i][2]
            self.cache[i] = check_blob(self.checker.chunk_bytes(digest),
                                       self.key)[0]
        return self.cache[i]

    def read(self, off, n):
        expect(off + n <= self.size, "stream-range",
               f"{n} bytes at {off} of {self.size}")
        out = b""
        i = self.find(off)
        while n > 0:
            start, end, _ = self.x.entries[i]
            part = self.piece(i)[off - start:off - start + n]
            out += part
            off += len(part)
            n -= len(part)
            i += off == end
        return out

    def find(self, off):
        # Reads mostly go on where the last one was.
        for i in (self.at, self.at + 1):
            if i < len(self.ends) and \
                    self.x.entries[i][0] <= off < self.ends[i]:
                self.at = i
                return i
        lo, hi = 0, len(self.ends)
        while lo < hi:
            mid = (lo + hi) // 2
            if self.ends[mid] <= off:
                lo = mid + 1
            else:
                hi = mid
        self.at = lo
        return lo

    def all(self):
        return b"".join(self.piece(i) for i in range(len(self.ends)))


class Checker:
    def __init__(self, store, keys):
        self.store = store
        self.keys = keys
        self.problems = []
        self.present = set(store.files)
        self.chunks = {}        # (digest, key) -> (size, encrypted) or None

    def run(self, where, fn, *args):
        """What fn returns; None with a problem noted."""
        try:
            return fn(*args)
        except Wrong as e:
            self.problems.append(Problem(e.rule, where, e.text))
        return None

    def chunk_name(self, digest):
        return f".chunks/{digest[:4]}/{digest}"

    def chunk_bytes(self, digest):
        return self.store.read(self.chunk_name(digest))

    def look(self, digest, entry, key):
        """Checks a chunk of an archive; (size of its content,), or (None,)
        without its key."""
        name = self.chunk_name(digest)
        expect(name in self.present, "chunk-missing", name)
        raw = self.chunk_bytes(digest)
        check_chunk_stored(raw)
        content, encrypted = check_blob(raw, key)
        check_entry_kind(entry, encrypted)
        if content is None:
            return (None,)
        check_chunk_digest(content, digest, key)
        return (len(content),)

    def chunk(self, where, digest, entry, key):
        """As look, once for each; None if there is something wrong."""
        what = digest, entry["crypt-mode"], key and key.fingerprint
        if what not in self.chunks:
            self.chunks[what] = self.run(f"{where}: chunk {digest}",
                                         self.look, digest, entry, key)
        return self.chunks[what]

    def index_chunks(self, where, entry, x, key):
        """All chunks of an index; whether all is well."""
        fine = True
        before = len(self.problems)
        for start, end, digest in x.entries:
            found = self.chunk(where, digest, entry, key)
            if found is None:
                fine = False
            else:
                self.run(f"{where}: chunk {digest}", self.range_is, *found,
                         start, end)
        return fine and len(self.problems) == before

    @staticmethod
    def range_is(size, start, end):
        expect(size is None or size == end - start, "chunk-length",
               f"{size} bytes in the range {start} to {end}")

    def file(self, top, entry, key):
        """One that the manifest lists; its Stream if that can be read."""
        name = entry["filename"]
        where = f"{top}/{name}"
        if where not in self.present:
            return None
        raw = self.store.read(where)
        if entry["crypt-mode"] != "encrypt":
            key = None
        if name.endswith(".blob"):
            self.run(where, check_entry_blob, entry, raw)
            found = self.run(where, check_blob, raw, key)
            if found:
                self.run(where, check_entry_kind, entry, found[1])
            return None
        x = self.run(where, check_index, raw, name.endswith(".fidx"))
        if x is None:
            return None
        self.run(where, check_entry_index, entry, x)
        if not self.index_chunks(where, entry, x, key):
            return None
        if entry["crypt-mode"] == "encrypt" and key is None:
            return None
        return Stream(self, x, key)

    @staticmethod
    def archive(stream, version):
        a = Archive(stream.read, stream.size, version)
        root = a.parse()
        check_refs(a.refs)
        return root, a.refs

    def contents(self, top, names, streams):
        """The archives, against each other where two belong together."""
        roots = {}
        for name in names:
            version = 1 if name.endswith(".pxar.didx") else \
                2 if name.endswith(".mpxar.didx") else 0
            if not version or name not in streams:
                continue
            found = self.run(f"{top}/{name}", self.archive,
                             streams[name], version)
            if found is None:
                continue
            payload = name.replace(".mpxar.", ".ppxar.")
            if version == 1:
                roots[name] = found[0]
            elif payload in streams:
                s = streams[payload]
                self.run(f"{top}/{payload}", check_payload, s.read, s.size,
                         found[1])
        catalog = streams.get("catalog.pcat1.didx")
        if catalog and list(roots) == [n for n in names
                                       if n.endswith(".pxar.didx")]:
            self.run(f"{top}/catalog.pcat1.didx",
                     Catalog(catalog.all()).compare, roots)

    def manifest(self, where, parts):
        """The manifest's text, parsed and checked alone."""
        text, encrypted = check_blob(self.store.read(where))
        expect(not encrypted, "manifest-encrypted", "it is encrypted")
        doc = check_json(text)
        check_manifest_fields(doc)
        check_manifest_text(text, doc)
        self.run(where, check_manifest_place, doc, *parts)
        self.run(where, check_unprotected, doc["unprotected"])
        self.run(where, check_manifest_order,
                 [f["filename"] for f in doc["files"]])
        return doc

    def snapshot(self, top, parts, present, allow_unfinished):
        if MANIFEST not in present:
            if not allow_unfinished:
                self.problems.append(Problem("manifest-missing", top,
                                             "not finished"))
            return
        where = f"{top}/{MANIFEST}"
        doc = self.run(where, self.manifest, where, parts)
        if doc is None:
            return
        key = self.run(where, check_signature, doc, self.keys)
        names = [f["filename"] for f in doc["files"]]
        self.run(top, check_listed, names, present)
        streams = {}
        for f in doc["files"]:
            s = self.file(top, f, key)
            if s is not None:
                streams[f["filename"]] = s
        self.contents(top, names, streams)
        if "client.log.blob" in present:
            self.run(f"{top}/client.log.blob", check_blob,
                     self.store.read(f"{top}/client.log.blob"), None)
        if ".protected" in present:
            self.run(f"{top}/.protected", self.is_empty,
                     f"{top}/.protected", "protected-empty")

    def is_empty(self, name, rule):
        expect(self.store.read(name) == b"", rule, "it has content")

    def snapshots(self, allow_unfinished):
        found = collections.defaultdict(set)
        for name in self.store.files:
            m = SNAP_FILE.fullmatch(name)
            if m:
                found[m[1], m[2], m[3], m[4], m[5]].add(m[6])
        for name in self.store.dirs:
            m = SNAP_FILE.fullmatch(name + "/.")
            if m:
                found[m[1], m[2], m[3], m[4], m[5]] |= set()
        for (top, _, *parts), present in sorted(found.items()):
            self.snapshot(top, parts, present, allow_unfinished)
        return {group for _, group, *_ in found}

    def names(self):
        for name in self.store.files:
            self.run(name, check_name, name, self.store.s3)
        for name in self.store.dirs:
            if name and not OWN.fullmatch(name) and name != "lost+found":
                self.run(name, self.is_dir_name, name)

    @staticmethod
    def is_dir_name(name):
        expect(CHUNK_DIR.fullmatch(name) or OTHER_DIR.fullmatch(name),
               "stray-dir", "no server makes it")
        m = SNAP_FILE.fullmatch(name + "/.")
        if m:
            check_time(m[5])

    def groups(self, groups):
        """Those of snapshots, and those that are there without any."""
        for name in (*self.store.files, *(d + "/owner" for d in
                                          self.store.dirs)):
            m = GROUP_FILE.fullmatch(name)
            if m:
                groups.add(m[1])
        for group in sorted(groups):
            where = f"{group}/owner"
            if where in self.present:
                self.run(where, check_owner, self.store.read(where))
            else:
                self.problems.append(Problem("owner-missing", group,
                                             "no owner"))

    def namespaces(self):
        """In a bucket each has its mark; in a directory none has."""
        wanted = set()
        for name in self.store.files:
            parts = ns_of(name)
            for i in range(len(parts)):
                wanted.add("".join(f"ns/{p}/" for p in parts[:i + 1]))
        for ns in sorted(wanted if self.store.s3 else ()):
            if ns + ".namespace" in self.present:
                self.run(ns, self.is_empty, ns + ".namespace",
                         "namespace-marker")
            else:
                self.problems.append(Problem("namespace-marker", ns,
                                             "no .namespace"))

    def modes(self, owner):
        """What a server insists on when it is given the directory."""
        base = self.store.stat("")
        uid, gid = owner or (base.st_uid, base.st_gid)
        for name in self.store.dirs:
            if OWN.fullmatch(name) or name == "lost+found":
                continue
            mode = 0o750 if CHUNK_DIR.fullmatch(name) else 0o755
            self.run(name or ".", check_mode, self.store.stat(name), mode,
                     uid, gid)
        for name in self.store.files:
            if not OWN.fullmatch(name):
                self.run(name, check_mode, self.store.stat(name), 0o644, uid,
                         gid)

    def has_lock(self):
        expect(".lock" in self.present, "lock-file", "there is none")
        expect(self.store.read(".lock") == b"", "lock-file", "it has content")

    def has_all_chunk_dirs(self):
        dirs = set(self.store.dirs)
        missing = [n for n in range(65536) if f".chunks/{n:04x}" not in dirs]
        expect(not missing, "chunk-dirs",
               f"{len(missing)} are missing, {missing[:1]} first")

    def rest_of_chunks(self):
        """Those that no index has; of those in one it is known."""
        seen = {digest for digest, *_ in self.chunks}
        for name in self.store.files:
            if CHUNK.fullmatch(name) and name[-64:] not in seen:
                self.run(name, self.loose_chunk, name)

    def loose_chunk(self, name):
        raw = self.store.read(name)
        check_chunk_stored(raw)
        content, encrypted = check_blob(raw)
        if not encrypted:
            check_chunk_digest(content, name[-64:], None)


def check(store, keys=(), modes=True, owner=None, all_chunk_dirs=True,
          after_crash=False):
    """
    The problems of a Directory or Bucket.  keys: of encrypted snapshots, to
    look into them.  modes: also those and the owners of the files, of a
    Directory; owner: (uid, gid) of all of them, that of its top if None;
    all_chunk_dirs: all 65536 are there.  after_crash: temporary files and
    snapshots without a manifest may be there.
    """
    c = Checker(store, keys)
    c.names()
    c.groups(c.snapshots(after_crash))
    c.namespaces()
    c.rest_of_chunks()
    if store.s3:
        if ".in-use" in c.present:
            c.run(".in-use", check_in_use, store.read(".in-use"))
    else:
        c.run(".lock", c.has_lock)
        if modes:
            c.modes(owner)
        if all_chunk_dirs:
            c.run(".chunks", c.has_all_chunk_dirs)
    if after_crash:
        c.problems = [p for p in c.problems if p.rule != "temp-file"]
    return c.problems


def clean(*args, **kw):
    """Asserts that there are none."""
    problems = check(*args, **kw)
    assert not problems, "\n".join(map(str, problems[:20]))
