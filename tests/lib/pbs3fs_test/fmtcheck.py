# SPDX-License-Identifier: GPL-3.0-or-later
"""
Whether a datastore is one that Proxmox Backup reads, sweeps and syncs: the
rules of the format document's section 13 and what they rest on, byte by byte.
Uses nothing of the program's code.

    problems = check(Directory(path))
    problems = check(Bucket({key: bytes}, "store"), keys=[Key.load(path)])

Each problem has the name of a rule, the object, and a text.
"""
import collections
import os
import typing

from . import fmtrules as rules
from .fmtpxar import Archive, Catalog, Wrong, check_payload, check_refs, expect


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
    The objects of one: {key: bytes, or the path of a file, or what gives the
    bytes when called}.  Names are those that a directory would have; what is
    elsewhere keeps its whole key.
    """
    s3 = True
    dirs = ()

    def __init__(self, objects, datastore):
        self.objects = {}
        for key, value in dict(objects).items():
            name = key
            if key.startswith(datastore + "/"):
                name = key[len(datastore) + 1:]
                if name.startswith(".cnt/") and name[5:6] != ".":
                    name = name[5:]
                elif not name.startswith((".chunks/", ".pbs3fs/")) and \
                        name != ".in-use":
                    name = key
            self.objects[name] = value
        self.files = sorted(self.objects)

    @classmethod
    def live(cls, client, bucket, datastore):
        """One that is read through a boto3 client, object by object."""
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket)

        def getter(key):
            return lambda: client.get_object(Bucket=bucket,
                                             Key=key)["Body"].read()

        return cls({o["Key"]: getter(o["Key"]) for page in pages
                    for o in page.get("Contents", ())}, datastore)

    def read(self, name):
        value = self.objects[name]
        if callable(value):
            return value()
        if isinstance(value, bytes):
            return value
        with open(value, "rb") as f:
            return f.read()


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
            self.cache[i], _ = rules.check_blob(
                self.checker.chunk_bytes(digest), self.key)
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
        rules.check_chunk_stored(raw)
        content, encrypted = rules.check_blob(raw, key)
        rules.check_entry_kind(entry, encrypted)
        if content is None:
            return (None,)
        rules.check_chunk_digest(content, digest, key)
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
            self.run(where, rules.check_entry_blob, entry, raw)
            found = self.run(where, rules.check_blob, raw, key)
            if found:
                self.run(where, rules.check_entry_kind, entry, found[1])
            return None
        x = self.run(where, rules.check_index, raw, name.endswith(".fidx"))
        if x is None:
            return None
        self.run(where, rules.check_entry_index, entry, x)
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
        text, encrypted = rules.check_blob(self.store.read(where))
        expect(not encrypted, "manifest-encrypted", "it is encrypted")
        doc = rules.check_json(text)
        rules.check_manifest_fields(doc)
        rules.check_manifest_text(text, doc)
        self.run(where, rules.check_manifest_place, doc, *parts)
        self.run(where, rules.check_unprotected, doc["unprotected"])
        self.run(where, rules.check_manifest_order,
                 [f["filename"] for f in doc["files"]])
        return doc

    def snapshot(self, top, parts, present, allow_unfinished):
        if rules.MANIFEST not in present:
            if not allow_unfinished:
                self.problems.append(Problem("manifest-missing", top,
                                             "not finished"))
            return
        where = f"{top}/{rules.MANIFEST}"
        doc = self.run(where, self.manifest, where, parts)
        if doc is None:
            return
        key = self.run(where, rules.check_signature, doc, self.keys)
        names = [f["filename"] for f in doc["files"]]
        self.run(top, rules.check_listed, names, present)
        streams = {}
        for f in doc["files"]:
            s = self.file(top, f, key)
            if s is not None:
                streams[f["filename"]] = s
        self.contents(top, names, streams)
        if "client.log.blob" in present:
            self.run(f"{top}/client.log.blob", rules.check_blob,
                     self.store.read(f"{top}/client.log.blob"), None)
        if ".protected" in present:
            self.run(f"{top}/.protected", self.is_empty,
                     f"{top}/.protected", "protected-empty")

    def is_empty(self, name, rule):
        expect(self.store.read(name) == b"", rule, "it has content")

    def snapshots(self, allow_unfinished):
        found = collections.defaultdict(set)
        for name in self.store.files:
            m = rules.SNAP_FILE.fullmatch(name)
            if m:
                here = found[m[1], m[2], m[3], m[4], m[5]]
                if rules.ARCHIVE.fullmatch(m[6]) or m[6] == ".protected":
                    here.add(m[6])
        for name in self.store.dirs:
            m = rules.SNAP_FILE.fullmatch(name + "/.")
            if m:
                found.setdefault((m[1], m[2], m[3], m[4], m[5]), set())
        for (top, _, *parts), present in sorted(found.items()):
            self.snapshot(top, parts, present, allow_unfinished)
        return {group for _, group, *_ in found}

    def names(self):
        for name in self.store.files:
            self.run(name, rules.check_name, name, self.store.s3)
        for name in self.store.dirs:
            if name:
                self.run(name, self.is_dir_name, name)

    @staticmethod
    def is_dir_name(name):
        known = rules.CHUNK_DIR, rules.OTHER_DIR, rules.OWN
        expect(name == "lost+found" or any(r.fullmatch(name) for r in known),
               "stray-dir", "no server makes it")
        m = rules.SNAP_FILE.fullmatch(name + "/.")
        if m:
            rules.check_time(m[5])

    def groups(self, groups):
        """Those of snapshots, and those that are there without any."""
        for name in (*self.store.files, *(d + "/owner" for d in
                                          self.store.dirs)):
            m = rules.GROUP_FILE.fullmatch(name)
            if m:
                groups.add(m[1])
        for group in sorted(groups):
            where = f"{group}/owner"
            if where in self.present:
                self.run(where, rules.check_owner, self.store.read(where))
            else:
                self.problems.append(Problem("owner-missing", group,
                                             "no owner"))

    def namespaces(self):
        """In a bucket each has its mark; in a directory none has."""
        wanted = set()
        for name in self.store.files:
            parts = rules.ns_of(name)
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
            if rules.OWN.fullmatch(name) or name == "lost+found":
                continue
            mode = 0o750 if rules.CHUNK_DIR.fullmatch(name) else 0o755
            self.run(name or ".", rules.check_mode, self.store.stat(name),
                     mode, uid, gid)
        for name in self.store.files:
            if not rules.OWN.fullmatch(name):
                self.run(name, rules.check_mode, self.store.stat(name), 0o644,
                         uid, gid)

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
            if rules.CHUNK.fullmatch(name) and name[-64:] not in seen:
                self.run(name, self.loose_chunk, name)

    def loose_chunk(self, name):
        raw = self.store.read(name)
        rules.check_chunk_stored(raw)
        content, encrypted = rules.check_blob(raw)
        if not encrypted:
            rules.check_chunk_digest(content, name[-64:], None)


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
            c.run(".in-use", rules.check_in_use, store.read(".in-use"))
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
