# SPDX-License-Identifier: GPL-3.0-or-later
"""A small bucket in memory, good as it is and easily made wrong."""
import hashlib
import json
import struct

from . import fmtpxar, pbsgen

ONE = "host/h1/2024-01-01T00:00:00Z"
TWO = "ns/a/ns/b/ct/200/2024-02-29T23:59:59Z"
VM = "vm/100/2024-01-02T03:04:05Z"


class Made:
    """A bucket in memory, to be changed before objects() ends it."""
    def __init__(self):
        self.store = {".in-use": b'{"hostname":"h"}'}
        self.docs = {}
        for top in (ONE, TWO, VM):
            group, _, when = top.rpartition("/")
            kind, ident = group.split("/")[-2:]
            self.store[f"{group}/owner"] = b"root@pam\n"
            snap = pbsgen.Snapshot.__new__(pbsgen.Snapshot)
            snap.kind, snap.ident, snap.when, snap.files = \
                kind, ident, when, []
            self.docs[top] = snap.manifest()
        self.store["ns/a/.namespace"] = self.store["ns/a/ns/b/.namespace"] \
            = b""
        self.split(archive(True))
        self.blob(ONE, "h1.conf.blob", b"text " * 100)
        self.blob(ONE, "rnd.blob", pbsgen.noise(100))
        self.v1(archive(False))
        self.fixed(VM, "drive-scsi0.img.fidx",
                   bytes(8 << 20) + pbsgen.noise(1000))

    def entry(self, top, name):
        """Its entry in the manifest, which is made if it is not there."""
        for f in self.docs[top]["files"]:
            if f["filename"] == name:
                return f
        f = {"crypt-mode": "none", "filename": name}
        self.docs[top]["files"].append(f)
        return f

    def chunk(self, data, raw=None):
        digest = hashlib.sha256(data).digest()
        name = digest.hex()
        self.store[f".chunks/{name[:4]}/{name}"] = raw or pbsgen.blob(data)
        return digest

    def blob(self, top, name, data, raw=None):
        raw = raw or pbsgen.blob(data)
        self.store[f"{top}/{name}"] = raw
        self.entry(top, name).update(
            size=len(raw), csum=hashlib.sha256(raw).hexdigest())

    def table(self, top, name, magic, table, size, tail=b""):
        """An index; its checksum and the manifest's are right."""
        csum = hashlib.sha256(table).digest()
        self.store[f"{top}/{name}"] = \
            pbsgen.header(magic, csum, tail=tail) + table
        self.entry(top, name).update(size=size, csum=csum.hex())

    def dynamic(self, top, name, stream, cut=1000):
        rows, end = b"", 0
        for i in range(0, len(stream), cut):
            piece = bytes(stream[i:i + cut])
            end += len(piece)
            rows += struct.pack("<Q", end) + self.chunk(piece)
        self.table(top, name, pbsgen.DIDX, rows, end)

    def fixed(self, top, name, data, chunk=4 << 20, pad=False, size=None):
        rows = b""
        for i in range(0, len(data), chunk):
            piece = data[i:i + chunk]
            rows += self.chunk(piece.ljust(chunk, b"\0") if pad else piece)
        size = len(data) if size is None else size
        self.table(top, name, pbsgen.FIDX, rows, size,
                   struct.pack("<QQ", size, chunk))

    def split(self, a, payload=None, stream=None):
        stream = bytes(a.out) if stream is None else stream
        self.dynamic(ONE, "root.ppxar.didx",
                     a.payload if payload is None else payload)
        self.dynamic(ONE, "root.mpxar.didx", stream)

    def v1(self, a, catalog=None):
        self.dynamic(TWO, "root.pxar.didx", a.out)
        self.dynamic(TWO, "catalog.pcat1.didx", catalog or CATALOG)

    def objects(self, text=None):
        for top, doc in self.docs.items():
            t = json.dumps(doc, indent=2, sort_keys=True)
            if f"{top}/index.json.blob" not in self.store:
                self.store[f"{top}/index.json.blob"] = \
                    pbsgen.blob(t.encode())
        return {f"store/{n}" if n.startswith((".chunks/", ".in-use"))
                else n[1:] if n.startswith("!") else f"store/.cnt/{n}": v
                for n, v in self.store.items()}


def archive(split, **how):
    """An archive with an entry of each kind.  how: change of the root's table,
    close: what is written last."""
    a = pbsgen.Pxar(split)
    a.dir(b"d")
    first = a.file(b"a", b"hi\n", xattrs=[("user.x", b"1")])
    a.file(b"b", b"")
    a.hardlink(b"h", b"d/a", first)
    a.symlink(b"s", b"d/a")
    a.end()
    a.file(b"f", b"x" * 3000, mtime=(-5, 7))
    for name in (b"g", b"k", b"m"):
        a.raw(name, pbsgen.entry(0o010600))
    how.get("last", lambda a: None)(a)
    a.close(how.get("change"))
    return a


def table(*entries):
    body = bytes([len(entries)]) + b"".join(entries)
    return bytes([len(body)]) + body


def named(kind, name, rest=b""):
    return kind + bytes([len(name)]) + name + rest


def catalog(top=b"root.pxar.didx", names=(b"g", b"k", b"m"), size=b"\xb8\x17",
            mtime=b"\x85\x00", back=None):
    """That of archive(False)."""
    when = b"\x80\xe2\xcf\xaa\x06"
    t1 = table(named(b"f", b"a", b"\x03" + when),
               named(b"f", b"b", b"\x00" + when), named(b"h", b"h"),
               named(b"l", b"s"))
    t2 = table(named(b"d", b"d", bytes([len(t1)]) if back is None else back),
               named(b"f", b"f", size + mtime),
               *(named(b"p", n) for n in names))
    t3 = table(named(b"d", top, bytes([len(t2)])))
    out = fmtpxar.Catalog.MAGIC + t1 + t2
    return out + t3 + struct.pack("<Q", len(out))


CATALOG = catalog()
