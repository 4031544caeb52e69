# SPDX-License-Identifier: GPL-3.0-or-later
"""
Writes datastores, from the description of the format and without any of the
program's code: large ones, odd ones, and ones that a liar would make.
"""
import calendar
import hashlib
import json
import os
import struct
import time
import zlib

import zstandard

RAW = bytes.fromhex("42ab3807be8370a1")
ZSTD = bytes.fromhex("31b958426fb6a37f")
FIDX = bytes.fromhex("2f7f41ed91fd0fcd")
DIDX = bytes.fromhex("1c914ea519bab3cd")

FIXED_CHUNK = 4 << 20


def blob(data, kind="auto"):
    """An encoded blob or chunk."""
    packed = None
    if kind in ("auto", "zstd"):
        packed = zstandard.ZstdCompressor(level=1).compress(data)
        if kind == "auto" and len(packed) >= len(data):
            packed = None
    magic, body = (RAW, data) if packed is None else (ZSTD, packed)
    return magic + struct.pack("<I", zlib.crc32(body)) + body


def decode(raw):
    """The content of a blob or chunk that is not encrypted."""
    if raw[:8] == RAW:
        return raw[12:]
    assert raw[:8] == ZSTD
    return zstandard.ZstdDecompressor().decompressobj().decompress(raw[12:])


def header(magic, csum, uuid=b"\x11" * 16, ctime=1700000000, tail=b""):
    h = magic + uuid + struct.pack("<q", ctime) + csum + tail
    return h + bytes(4096 - len(h))


class Store:
    """A datastore in a directory."""
    crypt = "none"

    def __init__(self, path):
        self.path = path
        os.makedirs(os.path.join(path, ".chunks"), exist_ok=True)
        open(os.path.join(path, ".lock"), "w").close()
        self.chunks = {}        # digest -> size in the store

    def chunk_path(self, digest):
        name = digest.hex()
        return os.path.join(self.path, ".chunks", name[:4], name)

    def put(self, data, kind="auto", encoded=None, digest=None):
        """Stores a chunk; encoded and digest may lie.  The digest."""
        digest = digest or hashlib.sha256(data).digest()
        if digest not in self.chunks:
            encoded = encoded if encoded is not None else blob(data, kind)
            path = self.chunk_path(digest)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(encoded)
            self.chunks[digest] = len(encoded)
        return digest

    def snapshot(self, kind, ident, when="2024-01-01T00:00:00Z", ns=""):
        return Snapshot(self, kind, ident, when, ns)


class Snapshot:
    """One snapshot; finish() writes the manifest."""
    def __init__(self, store, kind, ident, when, ns):
        self.store = store
        self.kind, self.ident, self.when = kind, ident, when
        parts = [p for n in ns.split("/") if n for p in ("ns", n)]
        self.group = os.path.join(store.path, *parts, kind, ident)
        self.dir = os.path.join(self.group, when)
        self.rel = os.path.relpath(self.dir, store.path)
        os.makedirs(self.dir, exist_ok=True)
        with open(os.path.join(self.group, "owner"), "w") as f:
            f.write("root@pam\n")
        self.files = []

    def _write(self, name, data):
        with open(os.path.join(self.dir, name), "wb") as f:
            f.write(data)

    def _list(self, name, size, csum):
        self.files.append({"crypt-mode": self.store.crypt,
                           "csum": csum.hex(),
                           "filename": name, "size": size})

    def blob(self, name, data, kind="auto"):
        raw = blob(data, kind)
        self._write(name, raw)
        self._list(name, len(raw), hashlib.sha256(raw).digest())

    def fixed(self, name, pieces, size=None, chunk=FIXED_CHUNK):
        """pieces: chunks' content, or digests of chunks already there."""
        digests, total = [], 0
        for p in pieces:
            if len(p) == 32 and p in self.store.chunks:
                digests.append(p)
                total += chunk
            else:
                digests.append(self.store.put(p))
                total += len(p)
        self.fixed_digests(name, digests, total if size is None else size,
                           chunk)

    def fixed_digests(self, name, digests, size, chunk=FIXED_CHUNK):
        body = b"".join(digests)
        csum = hashlib.sha256(body).digest()
        self._write(name, header(FIDX, csum,
                                 tail=struct.pack("<QQ", size, chunk)) + body)
        self._list(name, size, csum)

    def dynamic(self, name, stream, cut=FIXED_CHUNK):
        """The stream in pieces of that size."""
        entries, end = [], 0
        for i in range(0, len(stream), cut):
            piece = bytes(stream[i:i + cut])
            end += len(piece)
            entries.append((end, self.store.put(piece)))
        self.dynamic_entries(name, entries)

    def dynamic_entries(self, name, entries):
        """[(end offset, digest)], true or not."""
        body = b"".join(struct.pack("<Q", e) + d for e, d in entries)
        csum = hashlib.sha256(body).digest()
        self._write(name, header(DIDX, csum) + body)
        self._list(name, entries[-1][0] if entries else 0, csum)

    def manifest(self):
        stamp = calendar.timegm(time.strptime(self.when,
                                              "%Y-%m-%dT%H:%M:%SZ"))
        return {"backup-id": self.ident, "backup-time": stamp,
                "backup-type": self.kind, "files": self.files,
                "signature": None, "unprotected": {}}

    def finish(self, **more):
        doc = self.manifest()
        doc.update(more)
        self._write("index.json.blob",
                    blob(json.dumps(doc, indent=2).encode()))
        return self


# pxar

ENTRY = 0xd5956474e588acef
FILENAME = 0x16701121063917b3
XATTR = 0x0dab0229b57dcd03
PAYLOAD = 0x28147a1b0b7c1a25
SYMLINK = 0x27f971e7dbf5dc5f
DEVICE = 0x9fc9e906586d5ce9
HARDLINK = 0x51269c8422bd7275
GOODBYE = 0x2fec4fa642d5731d
TAIL = 0xef5eed5b753e1555
VERSION = 0x730f6c75df16a40d
PAYLOAD_REF = 0x419d3d6bc4ba977e
START_MARKER = 0x834c68c2194a4ed2
TAIL_MARKER = 0x6c72b78b984c81b5

_M = (1 << 64) - 1
_K0, _K1 = 0x83ac3f1cfbb450db, 0xaa4f1b6879369fbd


def siphash24(data):
    v0 = _K0 ^ 0x736f6d6570736575
    v1 = _K1 ^ 0x646f72616e646f6d
    v2 = _K0 ^ 0x6c7967656e657261
    v3 = _K1 ^ 0x7465646279746573
    n = len(data)
    words = list(struct.unpack(f"<{n // 8}Q", data[:n & ~7]))
    words.append(int.from_bytes(data[n & ~7:], "little") | (n & 255) << 56)
    for m in words + [None]:
        if m is None:
            v2 ^= 255
            rounds = 4
        else:
            v3 ^= m
            rounds = 2
        for _ in range(rounds):
            v0 = v0 + v1 & _M
            v1 = (v1 << 13 | v1 >> 51) & _M ^ v0
            v0 = (v0 << 32 | v0 >> 32) & _M
            v2 = v2 + v3 & _M
            v3 = (v3 << 16 | v3 >> 48) & _M ^ v2
            v0 = v0 + v3 & _M
            v3 = (v3 << 21 | v3 >> 43) & _M ^ v0
            v2 = v2 + v1 & _M
            v1 = (v1 << 17 | v1 >> 47) & _M ^ v2
            v2 = (v2 << 32 | v2 >> 32) & _M
        if m is not None:
            v0 ^= m
    return v0 ^ v1 ^ v2 ^ v3


def search_tree(items):
    """A sorted list as an array with the children of i at 2i+1 and 2i+2."""
    out = [None] * len(items)
    it = iter(items)
    stack, i = [], 0
    while stack or i < len(out):
        if i < len(out):
            stack.append(i)
            i = 2 * i + 1
        else:
            i = stack.pop()
            out[i] = next(it)
            i = 2 * i + 2
    return out


def record(kind, body, size=None):
    """A record, perhaps with a size that is a lie."""
    return struct.pack("<QQ", kind,
                       16 + len(body) if size is None else size) + body


def entry(mode, uid=0, gid=0, mtime=(1700000000, 0), xattrs=()):
    return record(ENTRY, struct.pack(
        "<QQIIqII", mode, 0, uid, gid, mtime[0], mtime[1], 0)) + b"".join(
        record(XATTR, name.encode() + b"\0" + value)
        for name, value in xattrs)


class Pxar:
    """
    An archive in memory, version 1, or 2 with split=True.  Call dir(), file()
    and so on in the order of the archive, end() for each dir(), close() last.
    """
    def __init__(self, split=False, mode=0o40755):
        self.out = bytearray()
        self.payload = bytearray() if split else None
        self.stack = []
        if split:
            self._record(VERSION, struct.pack("<Q", 2))
            self.payload += struct.pack("<QQ", START_MARKER, 16)
        # offset of the entry, own name's offset, children
        self.stack.append([0 if split else len(self.out), 0, []])
        self._entry(mode)

    def _record(self, kind, body):
        self.out += record(kind, body)

    def _entry(self, mode, **kw):
        self.out += entry(mode, **kw)

    def _name(self, name, hashed=None):
        """Records a child's start; returns what _done needs."""
        pos = len(self.out)
        self._record(FILENAME, name + b"\0")
        return siphash24(name) if hashed is None else hashed, pos

    def _done(self, key, more=0):
        self.stack[-1][2].append((key[0], key[1],
                                  len(self.out) - key[1] + more))

    def file(self, name, data, mode=0o100644, **kw):
        key = self._name(name)
        self._entry(mode, **kw)
        more = 0
        if self.payload is None:
            self._record(PAYLOAD, data)
        else:
            self._record(PAYLOAD_REF,
                         struct.pack("<QQ", len(self.payload), len(data)))
            self.payload += struct.pack("<QQ", PAYLOAD, 16 + len(data))
            self.payload += data
            more = len(data)
        self._done(key, more)
        return key[1]

    def symlink(self, name, target, **kw):
        key = self._name(name)
        self._entry(0o120777, **kw)
        self._record(SYMLINK, target + b"\0")
        self._done(key)

    def hardlink(self, name, target, pos):
        """pos: what file() returned."""
        key = self._name(name)
        self._record(HARDLINK, struct.pack("<Q", key[1] - pos & _M)
                     + target + b"\0")
        self._done(key)

    def raw(self, name, records):
        """An entry of any bytes."""
        key = self._name(name)
        self.out += records
        self._done(key)

    def dir(self, name, mode=0o40755, **kw):
        key = self._name(name)
        begin = len(self.out)
        self._entry(mode, **kw)
        self.stack.append([begin, key, []])

    def end(self, change=None):
        """change: may return another list of (hash, offset, size)."""
        begin, key, children = self.stack.pop()
        start = len(self.out)
        items = sorted(children)
        table = [(h, start - pos, size) for h, pos, size in items]
        if change:
            table = change(table, start)
        table = search_tree(table)
        size = 16 + 24 * (len(table) + 1)
        table.append((TAIL, start - begin, size))
        self._record(GOODBYE,
                     b"".join(struct.pack("<QQQ", *i) for i in table))
        if self.stack:
            self._done(key)

    def close(self, change=None):
        self.end(change)
        if self.payload is not None:
            self.payload += struct.pack("<QQ", TAIL_MARKER, 16)
        return bytes(self.out)


def add_archive(snapshot, name, archive, cut=FIXED_CHUNK):
    """The closed archive as NAME.pxar, or as NAME.mpxar and NAME.ppxar."""
    stream = archive.close() if archive.stack else bytes(archive.out)
    if archive.payload is None:
        snapshot.dynamic(name + ".pxar.didx", stream, cut)
    else:
        snapshot.dynamic(name + ".ppxar.didx", archive.payload, cut)
        snapshot.dynamic(name + ".mpxar.didx", stream, cut)


def noise(size, seed=0):
    """Bytes that do not compress and can be made again."""
    return hashlib.shake_128(b"%d" % seed).digest(size)
