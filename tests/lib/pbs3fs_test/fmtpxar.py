# SPDX-License-Identifier: GPL-3.0-or-later
"""
Whether streams are archives and catalogs as Proxmox Backup wants them: format
document sections 6 and 7.  Uses nothing of the program's code.
"""
import stat
import struct

from . import pbsgen
from .pbsgen import siphash24

ACL_USER = 0x2ce8540a457d55b8
ACL_GROUP = 0x136e3eceb04c03ab
ACL_GROUP_OBJ = 0x10868031e9582876
ACL_DEFAULT = 0xbbbb13415a6896f5
ACL_DEFAULT_USER = 0xc89357b40532cd1f
ACL_DEFAULT_GROUP = 0xf90a8a5816038ffe
FCAPS = 0x2da9dd9db5f7fb67
PROJID = 0xe07540e82f7d1cbb
PRELUDE = 0xe309d79d9f7b771b
ENTRY_V1 = 0x11da850a1c1cceff

# In the order in which they follow an entry: how often, and how long; None is
# any length.
ATTRIBUTES = {
    pbsgen.XATTR: (True, None), ACL_USER: (True, 16), ACL_GROUP: (True, 16),
    ACL_GROUP_OBJ: (False, 8), ACL_DEFAULT: (False, 32),
    ACL_DEFAULT_USER: (True, 16), ACL_DEFAULT_GROUP: (True, 16),
    FCAPS: (False, None), PROJID: (False, 8)}
ORDER = list(ATTRIBUTES)
UNSET = (1 << 64) - 1

# Where the client puts its list of excludes, against the order.
EXCLUDES = b".pxarexclude-cli"


class Wrong(Exception):
    """A rule that something breaks."""
    def __init__(self, rule, text):
        super().__init__(f"{rule}: {text}")
        self.rule = rule
        self.text = text


def expect(condition, rule, text):
    if not condition:
        raise Wrong(rule, text)


class Node:
    """An entry of an archive."""
    def __init__(self, name, begin, parent):
        self.name = name
        self.begin = begin      # of FILENAME; 0 of the root
        self.parent = parent
        self.entry = None       # of ENTRY
        self.end = None
        self.kind = None        # as a catalog has it
        self.mtime = None
        self.size = 0
        self.ref = None         # offset in the payload
        self.children = []

    def path(self):
        parts = []
        node = self
        while node.parent is not None:
            parts.append(node.name)
            node = node.parent
        return b"/".join(reversed(parts))


KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l",
         stat.S_IFBLK: "b", stat.S_IFCHR: "c", stat.S_IFIFO: "p",
         stat.S_IFSOCK: "s"}


class Archive:
    """
    A stream, read record by record; a directory is checked as it ends.
    read(off, len) gives bytes of the stream, of which there are size.
    """
    def __init__(self, read, size, version):
        self.read = read
        self.size = size
        self.version = version
        self.pos = 0
        self.files = {}         # by begin
        self.refs = []          # (offset, size) in the order of the archive

    def record(self):
        """(type, where its content is, its length), and goes behind it."""
        begin = self.pos
        expect(self.size - begin >= 16, "pxar-record",
               f"the stream ends inside of a header at {begin}")
        kind, full = struct.unpack("<QQ", self.read(begin, 16))
        expect(16 <= full <= self.size - begin, "pxar-record",
               f"record at {begin} has the size {full}")
        self.pos = begin + full
        return kind, begin + 16, full - 16

    def peek(self):
        if self.size - self.pos < 8:
            return None
        return struct.unpack("<Q", self.read(self.pos, 8))[0]

    def header(self):
        """What precedes the root."""
        if self.version == 1:
            expect(self.peek() != pbsgen.VERSION, "pxar-version",
                   "a .pxar has a version record")
            return
        expect(self.peek() == pbsgen.VERSION, "pxar-version",
               "an .mpxar does not begin with its version")
        _, at, n = self.record()
        expect(n == 8 and self.read(at, 8) == struct.pack("<Q", 2),
               "pxar-version", "the version is not 2")
        if self.peek() == PRELUDE:
            self.record()

    def parse(self):
        """The root, with everything below it."""
        self.header()
        root = node = Node(b"", 0, None)
        self.entry(root)
        expect(root.kind == "d", "pxar-root", "the root is no directory")
        while node is not None:
            kind = self.peek()
            if kind == pbsgen.FILENAME:
                child = self.child(node)
                if child.kind == "d":
                    node = child
            elif kind == pbsgen.GOODBYE:
                self.goodbye(node)
                node = node.parent
            else:
                raise Wrong("pxar-record", f"unexpected record {kind} at "
                            f"{self.pos}")
        expect(self.pos == self.size, "pxar-end",
               f"{self.size - self.pos} bytes behind the root's table")
        return root

    def child(self, parent):
        begin = self.pos
        name = self.name()
        last = parent.children[-1].name if parent.children else None
        expect(last is None or last < name or
               (parent.parent is None and name == EXCLUDES), "pxar-order",
               f"{name!r} comes after {last!r}")
        expect(last != EXCLUDES or parent.parent is not None or last < name,
               "pxar-order", f"{name!r} comes after {last!r}")
        node = Node(name, begin, parent)
        parent.children.append(node)
        if self.peek() == pbsgen.HARDLINK:
            self.hardlink(node)
            return node
        self.entry(node)
        if node.kind != "d":
            self.content(node)
            node.end = self.pos
        return node

    def name(self):
        begin = self.pos
        _, at, n = self.record()
        raw = self.read(at, min(n, 8192))
        name = raw[:-1]
        expect(2 <= n <= 4097 and raw[-1:] == b"\0", "pxar-name",
               f"name at {begin} has {n} bytes and ends with {raw[-1:]!r}")
        expect(b"/" not in name and b"\0" not in name and
               name not in (b".", b".."), "pxar-name",
               f"name {name!r} at {begin}")
        return name

    def entry(self, node):
        """ENTRY and the attributes behind it."""
        node.entry = self.pos
        kind, at, n = self.record()
        expect(kind == pbsgen.ENTRY and n == 40, "pxar-entry",
               f"record {kind:x} of {n} bytes where an ENTRY is wanted, at "
               f"{node.entry}")
        mode, _flags, _uid, _gid, sec, nsec, zero = \
            struct.unpack("<QQIIqII", self.read(at, 40))
        expect(mode >> 16 == 0 and stat.S_IFMT(mode) in KINDS, "pxar-entry",
               f"mode {mode:o} at {node.entry}")
        expect(nsec < 1000000000 and zero == 0, "pxar-entry",
               f"nanoseconds {nsec}, reserved {zero} at {node.entry}")
        node.kind = KINDS[stat.S_IFMT(mode)]
        node.mtime = sec
        self.attributes()

    def attributes(self):
        last, last_id = 0, -1
        while (kind := self.peek()) in ATTRIBUTES:
            begin = self.pos
            many, length = ATTRIBUTES[kind]
            _, at, n = self.record()
            i = ORDER.index(kind)
            expect(i > last or (i == last and many), "pxar-attributes",
                   f"record {kind:x} at {begin} is out of order or twice")
            expect(length is None or n == length, "pxar-attributes",
                   f"record {kind:x} at {begin} has {n} bytes")
            if i != last:
                last_id = -1
            if kind == pbsgen.XATTR:
                check_xattr(self.read(at, n))
            elif kind in (ACL_USER, ACL_GROUP, ACL_DEFAULT_USER,
                          ACL_DEFAULT_GROUP):
                last_id = check_acl_id(self.read(at, 16), last_id)
            elif kind == ACL_GROUP_OBJ:
                check_perms(self.read(at, 8), False)
            elif kind == ACL_DEFAULT:
                check_perms(self.read(at, 32), True)
            last = i

    def content(self, node):
        """What ends an entry that is no directory."""
        if node.kind in "ps":
            return
        begin = self.pos
        kind, at, n = self.record()
        want = {"f": pbsgen.PAYLOAD if self.version == 1
                else pbsgen.PAYLOAD_REF, "l": pbsgen.SYMLINK,
                "b": pbsgen.DEVICE, "c": pbsgen.DEVICE}[node.kind]
        expect(kind == want, "pxar-content",
               f"record {kind:x} at {begin} for an entry of type {node.kind}")
        if node.kind == "l":
            target = self.read(at, min(n, 8192))
            expect(2 <= n <= 4097 and target.find(b"\0") == n - 1,
                   "pxar-symlink", f"target at {begin} does not end with its "
                   "only NUL")
        elif node.kind in "bc":
            expect(n == 16, "pxar-content", f"device of {n} bytes at {begin}")
        elif self.version == 1:
            node.size = n
        else:
            expect(n == 16, "pxar-content", f"reference of {n} bytes")
            node.ref, node.size = struct.unpack("<QQ", self.read(at, 16))
            self.refs.append((node.ref, node.size))
        if node.kind == "f":
            self.files[node.begin] = node

    def hardlink(self, node):
        _, at, n = self.record()
        node.kind = "h"
        node.end = self.pos
        expect(10 <= n <= 8 + 4097, "pxar-hardlink", f"of {n} bytes at {at}")
        raw = self.read(at, n)
        back, = struct.unpack("<Q", raw[:8])
        expect(raw.find(b"\0", 8) == n - 1, "pxar-hardlink",
               f"path at {at} does not end with its only NUL")
        target = self.files.get(node.begin - back)
        expect(target is not None, "pxar-hardlink",
               f"{node.path()!r} goes {back} bytes back, where no file is")
        expect(target.path() == raw[8:-1], "pxar-hardlink",
               f"{node.path()!r} names {raw[8:-1]!r} and goes back to "
               f"{target.path()!r}")

    def goodbye(self, node):
        """The table of the directory, which is complete now."""
        pos = self.pos
        _, at, n = self.record()
        node.end = self.pos
        raw = self.read(at, n)
        expect(n % 24 == 0 and n // 24 == len(node.children) + 1,
               "goodbye-count", f"{n} bytes for {len(node.children)} entries "
               f"of {node.path()!r}")
        items = [struct.unpack_from("<QQQ", raw, i) for i in range(0, n, 24)]
        check_tail(items.pop(), node, pos, n + 16)
        check_items(items, node, pos)
        check_tree(items, node)
        for child in node.children:
            check_lookup(items, child, pos)


def check_xattr(raw):
    name, nul, _ = raw.partition(b"\0")
    expect(nul and 0 < len(name) <= 255 and len(raw) <= 255 + 65536 + 1,
           "pxar-xattr", f"xattr {name[:300]!r} of {len(raw)} bytes")
    expect(name.startswith((b"user.", b"trusted.")) or
           name == b"security.NTACL", "pxar-xattr",
           f"{name!r} is none that Proxmox Backup restores")


def check_acl_id(raw, last):
    ident, perm = struct.unpack("<QQ", raw)
    expect(ident < 1 << 32 and perm <= 7, "pxar-acl",
           f"id {ident} has the permissions {perm:o}")
    expect(ident > last, "pxar-acl", f"id {ident} comes after {last}")
    return ident


def check_perms(raw, may_be_unset):
    for perm, in struct.iter_unpack("<Q", raw):
        expect(perm <= 7 or (may_be_unset and perm == UNSET), "pxar-acl",
               f"permissions {perm:x}")


def check_tail(item, node, pos, full):
    mark, offset, size = item
    expect(mark == pbsgen.TAIL and size == full, "goodbye-tail",
           f"tail of {node.path()!r}: {mark:x}, size {size}")
    # That of the root counts from the very start.
    want = pos - (node.entry if node.parent is not None else 0)
    expect(offset == want, "goodbye-tail",
           f"tail of {node.path()!r} goes {offset} back and not {want}")


def check_items(items, node, pos):
    """One item for each entry, with its hash, place and size."""
    found = {pos - offset: (mark, size) for mark, offset, size in items}
    for child in node.children:
        where = child.path()
        expect(child.begin in found, "goodbye-offset",
               f"no item of the table goes back to {where!r}")
        mark, size = found[child.begin]
        expect(mark == siphash24(child.name), "goodbye-hash",
               f"{where!r} has the hash {mark:x}")
        span = child.end - child.begin
        # New files of version 2 count their content in.
        also = span + child.size if child.ref is not None else span
        expect(size in (span, also), "goodbye-size",
               f"{where!r} has {span} bytes and its item says {size}")


def check_tree(items, node):
    """In order, the hashes of the tree do not fall."""
    last, stack, i = -1, [], 0
    while stack or i < len(items):
        if i < len(items):
            stack.append(i)
            i = 2 * i + 1
        else:
            i = stack.pop()
            expect(items[i][0] >= last, "goodbye-tree",
                   f"table of {node.path()!r}: item {i} is out of order")
            last = items[i][0]
            i = 2 * i + 2


def check_lookup(items, child, pos):
    """Down the tree, both ways where hashes are equal."""
    mark = siphash24(child.name)
    todo = [0]
    while todo:
        i = todo.pop()
        if i >= len(items):
            continue
        if items[i][0] == mark and pos - items[i][1] == child.begin:
            return
        if mark <= items[i][0]:
            todo.append(2 * i + 1)
        if mark >= items[i][0]:
            todo.append(2 * i + 2)
    raise Wrong("goodbye-tree", f"{child.path()!r} is not found")


def check_refs(refs):
    """Each file's content lies behind that of the file before."""
    last = 15
    for offset, size in refs:
        expect(offset > last, "ref-order",
               f"content at {offset} after one at {last}")
        last = offset


def check_payload(read, size, refs):
    """The payload stream: its marks, and a header for each reference."""
    expect(size >= 32 and read(0, 16) ==
           struct.pack("<QQ", pbsgen.START_MARKER, 16), "payload-start",
           "the stream does not begin with its mark")
    expect(read(size - 16, 16) == struct.pack("<QQ", pbsgen.TAIL_MARKER, 16),
           "payload-tail", "the stream does not end with its mark")
    for offset, length in refs:
        expect(offset + 16 + length <= size - 16, "payload-range",
               f"content of {length} bytes at {offset} of {size}")
        head = struct.unpack("<QQ", read(offset, 16))
        expect(head == (pbsgen.PAYLOAD, 16 + length), "payload-header",
               f"header at {offset} is {head[0]:x}, {head[1]} for {length} "
               "bytes")


class Catalog:
    """A whole stream in memory."""
    MAGIC = bytes.fromhex("91fd60f9c46758d5")

    def __init__(self, data):
        self.data = data

    def varint(self, pos, end):
        v = 0
        for shift in range(0, 70, 7):
            expect(pos < end, "catalog-table", "number beyond its table")
            byte = self.data[pos]
            pos += 1
            v |= (byte & 0x7f) << shift
            if not byte & 0x80:
                return v, pos
        raise Wrong("catalog-table", "number of more than ten bytes")

    def signed(self, pos, end):
        v = 0
        for shift in range(0, 77, 7):
            expect(pos < end, "catalog-table", "number beyond its table")
            byte = self.data[pos]
            pos += 1
            if byte == 0 and shift > 0:
                return -v, pos
            v |= (byte & 0x7f) << shift
            if not byte & 0x80:
                return v, pos
        raise Wrong("catalog-table", "number of more than eleven bytes")

    def table(self, pos):
        """[(type, name, child's table or size, mtime)]"""
        limit = len(self.data) - 8
        expect(8 <= pos < limit, "catalog-offset",
               f"a table at {pos} of {limit}")
        length, at = self.varint(pos, limit)
        end = at + length
        expect(0 < length <= limit - at, "catalog-table",
               f"table at {pos} has {length} bytes")
        count, at = self.varint(at, end)
        out = []
        for _ in range(count):
            expect(at < end, "catalog-table", f"table at {pos} is too short")
            kind = chr(self.data[at])
            n, at = self.varint(at + 1, end)
            name = self.data[at:at + n]
            expect(0 < n < 4096 and at + n <= end and b"\0" not in name and
                   b"/" not in name, "catalog-name", f"name {name[:80]!r}")
            at += n
            value = mtime = None
            if kind == "d":
                back, at = self.varint(at, end)
                expect(0 < back <= pos - 8, "catalog-offset",
                       f"{name!r} goes {back} back from {pos}")
                value = pos - back
            elif kind == "f":
                value, at = self.varint(at, end)
                mtime, at = self.signed(at, end)
            expect(kind in "dflhbcps", "catalog-table", f"type {kind!r}")
            out.append((kind, name, value, mtime))
        expect(at == end, "catalog-table",
               f"{end - at} bytes too many in the table at {pos}")
        return out

    def root(self):
        expect(len(self.data) > 16 and self.data[:8] == self.MAGIC,
               "catalog-magic", self.data[:8].hex())
        return self.table(struct.unpack("<Q", self.data[-8:])[0])

    def compare(self, archives):
        """Has what the archives have: {server name: root Node}."""
        tables = {}
        for kind, name, value, _ in self.root():
            expect(kind == "d" and name.endswith(b".pxar.didx"),
                   "catalog-archives", f"{name!r} of type {kind} at the top")
            tables[name.decode()] = value
        expect(list(tables) == list(archives), "catalog-archives",
               f"{list(tables)} for {list(archives)}")
        todo = [(archives[n], pos) for n, pos in tables.items()]
        while todo:
            node, pos = todo.pop()
            have = self.table(pos)
            want = [(c.kind, c.name, c.size if c.kind == "f" else None,
                     c.mtime if c.kind == "f" else None)
                    for c in node.children]
            got = [(k, n, None if k == "d" else v, t) for k, n, v, t in have]
            expect(got == want, "catalog-content",
                   f"{node.path()!r} has {got[:5]} and not {want[:5]}")
            todo += [(c, h[2]) for c, h in zip(node.children, have)
                     if c.kind == "d"]
