#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small S3 server in memory that misbehaves on order.

    s3script.py [--port N] [--tls CERT KEY] [--key ACCESS:SECRET]
                [--region R] [--bucket NAME]... [--port-file FILE]

It prints "port N control M" when it is ready (N is chosen if --port is 0, the
default) and serves on 127.0.0.1 until its standard input is closed (with
--stay: until it is killed).  M is N, or with --tls a second port that speaks
plain HTTP.  Only the standard library is used.

What it does right: HEAD bucket, LIST v2 (prefix, start-after,
continuation-token, max-keys), GET with Range, HEAD, PUT with If-None-Match: *,
DELETE, multi-delete, COPY; path style, or the bucket as the first label of the
Host; keep-alive.  With --key every request must carry a right signature (AWS
version 4) and a clock within 15 minutes.  Buckets exist from --bucket on, or
when they are first used if there is none.

It is a proxy as well: it answers requests with a full address itself, whatever
host they name, and passes CONNECT on to the port named, on 127.0.0.1.

Control, on the same port or the control port, outside of any bucket:
    POST   /_script   JSON list of rules; replaces the rules, resets their hits
    DELETE /_script   no rules
    GET    /_counts   {"GET": n, "LIST": n, ..., "total": n, "connections": n}
                      requests that arrived, by verb: GET HEAD PUT POST
                      DELETE LIST COPY; CONNECT; "begun": request lines
                      that were read at all, control not among them
    DELETE /_counts   reset them and the log
    GET    /_log      the last 1000 requests: [{"verb", "method", "path",
                      "key", "headers", "status"}]
    PUT    /_object/BUCKET/KEY   put an object past all rules and counts
    GET    /_object/BUCKET/KEY   its bytes

A rule is an object; the first one that matches a request is applied:
  what it matches (all that are given must):
    "verb": "GET"             as counted above, or a list of them
    "key": "*.blob"           glob on the key ("" for bucket requests)
    "query": "list-type=2*"   glob on the query string
    "after": n                the first n matching requests pass unharmed
    "count": n                then n requests are hit, and no more
    "every": n                of those, only each n-th
  what it does (any combination):
    "delay": seconds          before anything else
    "drop": "before"          close without an answer, the request not done
    "drop": "done"            do the request, then close without an answer
    "drop": "headers"         close after half of the response headers
    "truncate": n             announce the whole body, send n bytes, close
    "slow": bytes_per_second  send the body so
    "status": 503             answer this instead of doing the request
    "code": "SlowDown"        with <Error><Code> (also with status 200)
    "message": "..."          and <Message>
    "region": "eu-1"          and <Region>
    "body": "text"            this body instead
    "headers": {"Retry-After": "1"}   added to the answer
    "omit": ["ETag", ...]     headers or XML elements left out: Date, ETag,
                              Content-Length (then the connection is closed at
                              the end), Content-Type, Last-Modified,
                              IsTruncated, KeyCount, Name, StorageClass, ...
    "encode": true            LIST: keys percent-encoded with EncodingType url
    "page": n                 LIST: at most n keys per page
    "no_token": true          LIST: no NextContinuationToken
    "same_token": true        LIST: the answer never gets on
    "flip": offset            GET: invert the bits of this byte of the body
    "delete_error": "InternalError"  multi-delete: this <Error> for each key
                              that matches "delete_key" (glob, default "*")
    "clock": seconds          the Date header is off by this
    "whole": true             GET: ignore Range
"""

import argparse
import base64
import calendar
import fnmatch
import hashlib
import hmac
import json
import os
import select
import socket
import ssl
import sys
import threading
import time
import urllib.parse
import xml.sax.saxutils
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NS = 'http://s3.amazonaws.com/doc/2006-03-01/'
escape = xml.sax.saxutils.escape


class Obj:
    def __init__(self, data, headers=None):
        self.data = data
        self.mtime = time.time()
        self.etag = hashlib.md5(data).hexdigest()
        self.headers = headers or {}


class World:
    """All buckets, rules and counts.  lock guards everything."""

    def __init__(self, args):
        self.lock = threading.Lock()
        self.args = args
        self.buckets = {b: {} for b in args.bucket or []}
        self.fixed = bool(args.bucket)
        self.rules = []
        self.log = []
        self.reset_counts()

    def reset_counts(self):
        self.counts = {v: 0 for v in ('GET', 'HEAD', 'PUT', 'POST', 'DELETE',
                                      'LIST', 'COPY', 'CONNECT', 'begun',
                                      'total', 'connections')}

    def bucket(self, name):
        if name in self.buckets or self.fixed:
            return self.buckets.get(name)
        return self.buckets.setdefault(name, {})

    def rule_for(self, verb, key, query):
        for rule in self.rules:
            want = rule.get('verb')
            if want and verb not in ([want] if isinstance(want, str)
                                     else want):
                continue
            if 'key' in rule and not fnmatch.fnmatchcase(key, rule['key']):
                continue
            if 'query' in rule and not fnmatch.fnmatchcase(query,
                                                           rule['query']):
                continue
            seen = rule['_seen'] = rule.get('_seen', 0) + 1
            seen -= rule.get('after', 0)
            if seen <= 0 or seen % rule.get('every', 1) != 0:
                continue
            if 'count' in rule and rule.get('_hits', 0) >= rule['count']:
                continue
            rule['_hits'] = rule.get('_hits', 0) + 1
            return rule
        return {}


class Refused(Exception):
    def __init__(self, status, code, message='', region=None):
        Exception.__init__(self, code)
        self.status, self.code = status, code
        self.message, self.region = message, region


class Answer:
    def __init__(self, status=200, body=b'', headers=None):
        self.status, self.body = status, body
        self.headers = dict(headers or {})
        self.length = None      # announced, if not that of the body


def error_answer(status, code, message='', region=None, request_id='script-1'):
    x = ['<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code>'
         '<Message>%s</Message>' % (escape(code), escape(message))]
    if region:
        x.append('<Region>%s</Region>' % escape(region))
    x.append('<RequestId>%s</RequestId></Error>' % request_id)
    return Answer(status, ''.join(x).encode(),
                  {'Content-Type': 'application/xml'})


def encode(text, safe='-._~'):
    return urllib.parse.quote(text.encode('utf-8', 'surrogateescape'),
                              safe=safe)


def sign_ok(world, h, method, path, query, body):
    """Raise Refused unless the Authorization header is right."""
    auth = h.headers.get('Authorization', '')
    if not auth:
        raise Refused(403, 'AccessDenied', 'anonymous')
    try:
        kind, rest = auth.split(' ', 1)
        parts = dict(p.strip().split('=', 1) for p in rest.split(','))
        access, day, region, service, end = parts['Credential'].split('/')
        names = parts['SignedHeaders'].split(';')
    except (ValueError, KeyError):
        raise Refused(400, 'AuthorizationHeaderMalformed', 'unreadable')
    want_access, secret = world.args.key.split(':', 1)
    if kind != 'AWS4-HMAC-SHA256' or access != want_access:
        raise Refused(403, 'InvalidAccessKeyId', 'no such key')
    if region != world.args.region:
        raise Refused(400, 'AuthorizationHeaderMalformed',
                      'the region %r is wrong; expecting %r'
                      % (region, world.args.region), world.args.region)
    date = h.headers.get('x-amz-date', '')
    try:
        when = calendar.timegm(time.strptime(date, '%Y%m%dT%H%M%SZ'))
    except ValueError:
        raise Refused(403, 'AccessDenied', 'no date')
    if abs(when - time.time()) > 900:
        raise Refused(403, 'RequestTimeTooSkewed', 'clock')
    digest = h.headers.get('x-amz-content-sha256', '')
    if digest != hashlib.sha256(body).hexdigest():
        raise Refused(400, 'XAmzContentSHA256Mismatch', 'payload')
    if 'host' not in names or not all(
            n in names for n in h.headers_lower if n.startswith('x-amz-')):
        raise Refused(403, 'AccessDenied', 'headers not signed')
    pairs = sorted(p if '=' in p else p + '=' for p in query.split('&') if p)
    canonical = '\n'.join([
        method, path, '&'.join(pairs),
        ''.join('%s:%s\n' % (n, ' '.join(h.headers.get(n, '').split()))
                for n in names),
        ';'.join(names), digest])
    scope = '/'.join([day, region, service, end])
    text = '\n'.join(['AWS4-HMAC-SHA256', date, scope,
                      hashlib.sha256(canonical.encode()).hexdigest()])
    k = ('AWS4' + secret).encode()
    for part in (day, region, service, end):
        k = hmac.new(k, part.encode(), hashlib.sha256).digest()
    if hmac.new(k, text.encode(), hashlib.sha256).hexdigest() != \
            parts['Signature']:
        raise Refused(403, 'SignatureDoesNotMatch', 'signature')


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server_version = 's3script'
    timeout = 120

    def log_message(self, *args):
        pass

    def setup(self):
        BaseHTTPRequestHandler.setup(self)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.server.world.lock:
            self.server.world.counts['connections'] += 1

    def parse_request(self):
        if b' /_' not in self.raw_requestline:
            with self.server.world.lock:
                self.server.world.counts['begun'] += 1
        return BaseHTTPRequestHandler.parse_request(self)

    def do_CONNECT(self):
        world = self.server.world
        with world.lock:
            world.counts['CONNECT'] += 1
            rule = world.rule_for('CONNECT', self.path, '')
        self.close_connection = True
        if 'status' in rule:
            self.serve(error_answer(rule['status'], 'Refused'), {})
            return
        port = int(self.path.rsplit(':', 1)[1])
        with socket.create_connection(('127.0.0.1', port)) as there:
            self.wfile.write(b'HTTP/1.1 200 OK\r\n\r\n')
            pair = {self.connection: there, there: self.connection}
            while True:
                for s in select.select(list(pair), [], [])[0]:
                    data = s.recv(65536)
                    if not data:
                        return
                    pair[s].sendall(data)

    # -- control ---------------------------------------------------------

    def control(self, path, body):
        world = self.server.world
        method, what = self.command, path.split('/')[1]
        if what == '_script':
            with world.lock:
                world.rules = json.loads(body) if method == 'POST' else []
            return Answer(200)
        if what == '_counts':
            with world.lock:
                if method == 'DELETE':
                    world.reset_counts()
                    world.log = []
                return Answer(200, json.dumps(world.counts).encode())
        if what == '_log':
            with world.lock:
                return Answer(200, json.dumps(world.log).encode())
        if what == '_object':
            bucket, key = path[len('/_object/'):].split('/', 1)
            key = urllib.parse.unquote(key)
            with world.lock:
                objects = world.buckets.setdefault(bucket, {})
                if method == 'PUT':
                    objects[key] = Obj(body)
                elif method == 'DELETE':
                    objects.pop(key, None)
                elif key in objects:
                    return Answer(200, objects[key].data)
                else:
                    return Answer(404)
            return Answer(200)
        return Answer(404)

    # -- S3 --------------------------------------------------------------

    def locate(self, path):
        """Bucket and key, by path or by the host name."""
        host = self.headers.get('Host', '').rsplit(':', 1)[0]
        label = host.split('.')[0]
        if not host.replace('.', '').isdigit() and '.' in host and \
                label != 'localhost':
            bucket, key = label, path[1:]
        else:
            bucket, _, key = path[1:].partition('/')
        return bucket, urllib.parse.unquote(key, errors='surrogateescape')

    def get(self, objects, key, rule):
        o = objects.get(key)
        if o is None:
            raise Refused(404, 'NoSuchKey', 'no such key')
        headers = {'ETag': '"%s"' % o.etag, 'Accept-Ranges': 'bytes',
                   'Last-Modified': formatdate(o.mtime, usegmt=True),
                   'Content-Type': o.headers.get('content-type',
                                                 'binary/octet-stream')}
        headers.update({k: v for k, v in o.headers.items()
                        if k == 'x-amz-storage-class'})
        if self.headers.get('If-None-Match', '').strip('"') == o.etag:
            return Answer(304, b'', headers)
        data, status = o.data, 200
        want = self.headers.get('Range')
        if want and not rule.get('whole') and want.startswith('bytes='):
            first, _, last = want[6:].partition('-')
            first = int(first)
            last = min(int(last) if last else len(data) - 1, len(data) - 1)
            if first > last:
                raise Refused(416, 'InvalidRange', 'range')
            headers['Content-Range'] = 'bytes %d-%d/%d' % (first, last,
                                                           len(data))
            data, status = data[first:last + 1], 206
        if 'flip' in rule and rule['flip'] < len(data):
            data = bytearray(data)
            data[rule['flip']] ^= 0xff
            data = bytes(data)
        return Answer(status, data, headers)

    def put(self, objects, key, body):
        if self.headers.get('If-None-Match') == '*' and key in objects:
            raise Refused(412, 'PreconditionFailed', 'exists')
        want = self.headers.get('Content-MD5')
        if want and base64.b64decode(want) != hashlib.md5(body).digest():
            raise Refused(400, 'BadDigest', 'md5')
        objects[key] = Obj(body, self.headers_lower)
        return Answer(200, b'', {'ETag': '"%s"' % objects[key].etag})

    def copy(self, objects, key):
        source = urllib.parse.unquote(self.headers['x-amz-copy-source'],
                                      errors='surrogateescape')
        bucket, _, source = source.lstrip('/').partition('/')
        o = self.server.world.buckets.get(bucket, {}).get(source)
        if o is None:
            raise Refused(404, 'NoSuchKey', 'no source')
        if o is objects.get(key) and \
                self.headers.get('x-amz-metadata-directive') != 'REPLACE':
            raise Refused(400, 'InvalidRequest', 'copy to itself')
        objects[key] = Obj(o.data, self.headers_lower)
        return Answer(200, (
            '<?xml version="1.0" encoding="UTF-8"?>\n<CopyObjectResult xmlns='
            '"%s"><LastModified>%s</LastModified><ETag>&quot;%s&quot;</ETag>'
            '</CopyObjectResult>' % (NS, iso(objects[key].mtime),
                                     objects[key].etag)).encode(),
            {'Content-Type': 'application/xml'})

    def multi_delete(self, objects, body, rule):
        import xml.etree.ElementTree as et
        root = et.fromstring(body)
        strip = (lambda tag: tag.split('}')[-1])
        keys = [c.text or '' for o in root for c in o
                if strip(o.tag) == 'Object' and strip(c.tag) == 'Key']
        if len(keys) > 1000:
            raise Refused(400, 'MalformedXML', 'too many keys')
        if 'Content-MD5' not in self.headers:
            raise Refused(400, 'InvalidRequest', 'Content-MD5 is missing')
        out = ['<?xml version="1.0" encoding="UTF-8"?>\n<DeleteResult '
               'xmlns="%s">' % NS]
        for k in keys:
            bad = rule.get('delete_error')
            if bad and fnmatch.fnmatchcase(k, rule.get('delete_key', '*')):
                out.append('<Error><Key>%s</Key><Code>%s</Code><Message>on '
                           'order</Message></Error>' % (escape(k), bad))
                continue
            objects.pop(k, None)
            out.append('<Deleted><Key>%s</Key></Deleted>' % escape(k))
        out.append('</DeleteResult>')
        return Answer(200, ''.join(out).encode(),
                      {'Content-Type': 'application/xml'})

    def list(self, bucket, objects, query, rule):
        q = dict(urllib.parse.parse_qsl(query, keep_blank_values=True,
                                        errors='surrogateescape'))
        prefix = q.get('prefix', '')
        after = q.get('continuation-token', q.get('start-after', ''))
        if rule.get('same_token'):
            after = q.get('start-after', '')
        most = min(int(q.get('max-keys', 1000)), rule.get('page', 1000))
        raw = (lambda k: k.encode('utf-8', 'surrogateescape'))
        keys = sorted((k for k in objects if k.startswith(prefix) and
                       raw(k) > raw(after)), key=raw)
        more, keys = len(keys) > most, keys[:most]
        omit = rule.get('omit', [])
        show = (lambda k: escape(encode(k, '-._~/') if rule.get('encode')
                                 else k))
        x = ['<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult '
             'xmlns="%s">' % NS]

        def add(name, value):
            if name not in omit:
                x.append('<%s>%s</%s>' % (name, value, name))
        add('Name', escape(bucket))
        add('Prefix', show(prefix))
        add('MaxKeys', most)
        add('KeyCount', len(keys))
        add('IsTruncated', 'true' if more else 'false')
        if rule.get('encode'):
            add('EncodingType', 'url')
        if more and not rule.get('no_token'):
            add('NextContinuationToken', 'again' if rule.get('same_token')
                else escape(keys[-1]))
        for k in keys:
            o = objects[k]
            x.append('<Contents>')
            add('Key', show(k))
            add('LastModified', iso(o.mtime))
            add('ETag', '&quot;%s&quot;' % o.etag)
            add('Size', len(o.data))
            add('StorageClass', o.headers.get('x-amz-storage-class',
                                              'STANDARD'))
            x.append('</Contents>')
        x.append('</ListBucketResult>')
        return Answer(200, ''.join(x).encode(),
                      {'Content-Type': 'application/xml'})

    def verb(self, key, query):
        if self.command == 'GET' and not key:
            return 'LIST'
        if self.command == 'PUT' and 'x-amz-copy-source' in self.headers:
            return 'COPY'
        return self.command

    def do(self, verb, bucket, key, query, body, path, rule):
        world = self.server.world
        if world.args.key:
            sign_ok(world, self, self.command, path, query, body)
        objects = world.bucket(bucket)
        if objects is None:
            raise Refused(404, 'NoSuchBucket', 'no such bucket')
        if verb == 'LIST':
            return self.list(bucket, objects, query, rule)
        if verb == 'HEAD' and not key:
            return Answer(200)
        if verb in ('GET', 'HEAD'):
            return self.get(objects, key, rule)
        if verb == 'COPY':
            return self.copy(objects, key)
        if verb == 'PUT':
            return self.put(objects, key, body)
        if verb == 'DELETE':
            objects.pop(key, None)
            return Answer(204)
        if verb == 'POST' and 'delete' in query.split('=')[0]:
            return self.multi_delete(objects, body, rule)
        raise Refused(501, 'NotImplemented', 'not here')

    # -- answers, also bad ones ------------------------------------------

    def serve(self, a, rule):
        """Send the answer as the rule wants it."""
        omit = rule.get('omit', [])
        head = ['HTTP/1.1 %d X' % a.status]
        headers = {'Date': formatdate(time.time() + rule.get('clock', 0),
                                      usegmt=True),
                   'x-amz-request-id': 'script-%d' % id(a)}
        headers.update(a.headers)
        headers.update(rule.get('headers', {}))
        length = len(a.body) if a.length is None else a.length
        if a.status not in (204, 304):
            headers.setdefault('Content-Length', str(length))
        for k, v in headers.items():
            if k not in omit:
                head.append('%s: %s' % (k, v))
        if 'Content-Length' in omit:
            head.append('Connection: close')
            self.close_connection = True
        head = ('\r\n'.join(head) + '\r\n\r\n').encode('utf-8',
                                                       'surrogateescape')
        if rule.get('drop') == 'headers':
            self.wfile.write(head[:len(head) // 2])
            self.cut()
            return
        body = b'' if self.command == 'HEAD' else a.body
        if 'truncate' in rule:
            self.wfile.write(head + body[:rule['truncate']])
            self.cut()
            return
        if 'slow' in rule:
            self.wfile.write(head)
            step = max(1, int(rule['slow'] / 10))
            for i in range(0, len(body), step):
                self.wfile.write(body[i:i + step])
                self.wfile.flush()
                time.sleep(step / rule['slow'])
            return
        self.wfile.write(head + body)

    def cut(self):
        self.wfile.flush()
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def handle_one(self):
        world = self.server.world
        path, _, query = self.path.partition('?')
        if path.startswith('http://'):
            path = '/' + path[len('http://'):].partition('/')[2]
        self.headers_lower = {k.lower(): v for k, v in self.headers.items()}
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        if path.startswith('/_'):
            self.serve(self.control(path, body), {})
            return
        bucket, key = self.locate(path)
        verb = self.verb(key, query)
        with world.lock:
            world.counts['total'] += 1
            world.counts[verb] = world.counts.get(verb, 0) + 1
            rule = world.rule_for(verb, key, query)
            entry = {'verb': verb, 'method': self.command, 'path': self.path,
                     'key': key, 'headers': self.headers_lower, 'status': 0}
            world.log = world.log[-999:] + [entry]
        if 'delay' in rule:
            time.sleep(rule['delay'])
        if rule.get('drop') == 'before':
            self.cut()
            return
        if 'status' in rule or ('code' in rule and 'body' not in rule):
            a = error_answer(rule.get('status', 200), rule.get('code', ''),
                             rule.get('message', ''), rule.get('region'))
            if 'code' not in rule:
                a.body = b''
        else:
            try:
                with world.lock:
                    a = self.do(verb, bucket, key, query, body, path, rule)
            except Refused as e:
                a = error_answer(e.status, e.code, e.message, e.region)
        if 'body' in rule:
            a.body = rule['body'].encode('utf-8', 'surrogateescape')
        entry['status'] = a.status
        if rule.get('drop') == 'done':
            self.cut()
            return
        self.serve(a, rule)

    def answer(self):
        try:
            self.handle_one()
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.close_connection = True

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer


def iso(t):
    return time.strftime('%Y-%m-%dT%H:%M:%S.000Z', time.gmtime(t))


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def finish_request(self, request, client_address):
        # The handshake belongs into the connection's own thread.
        if self.context is not None:
            request.settimeout(20)
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except (OSError, ssl.SSLError):
                return
        ThreadingHTTPServer.finish_request(self, request, client_address)

    def handle_error(self, request, client_address):
        kind = sys.exc_info()[0]
        if not issubclass(kind, (OSError, ssl.SSLError)):
            ThreadingHTTPServer.handle_error(self, request, client_address)


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--port', type=int, default=0)
    p.add_argument('--port-file')
    p.add_argument('--tls', nargs=2, metavar=('CERT', 'KEY'))
    p.add_argument('--key', metavar='ACCESS:SECRET')
    p.add_argument('--region', default='us-east-1')
    p.add_argument('--bucket', action='append')
    p.add_argument('--stay', action='store_true')
    args = p.parse_args()
    world = World(args)
    server = control = Server(('127.0.0.1', args.port), Handler)
    servers = [server]
    server.world, server.context = world, None
    if args.tls:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(*args.tls)
        control = Server(('127.0.0.1', 0), Handler)
        control.world, control.context = world, None
        servers.append(control)
    port = server.server_address[1]
    if args.port_file:
        with open(args.port_file + '.new', 'w') as f:
            f.write('%d\n' % port)
        os.rename(args.port_file + '.new', args.port_file)
    print('port %d control %d' % (port, control.server_address[1]), flush=True)
    for each in servers:
        t = threading.Thread(target=each.serve_forever, daemon=True)
        t.start()
    if args.stay:
        t.join()
    else:
        sys.stdin.buffer.read()


if __name__ == '__main__':
    main()
