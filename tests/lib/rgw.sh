#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A throw-away Ceph radosgw (S3) on the loopback interface: one monitor, one
# OSD that keeps its data in memory, one gateway; no authentication between
# them, no manager, no system service.  All of it lives in one directory.
#
#   rgw.sh up DIR      start from nothing; prints what `env` prints
#   rgw.sh env DIR     how to reach it, as shell assignments
#   rgw.sh status DIR  0 if it answers
#   rgw.sh pause DIR   the gateway stops answering; connections stay open
#   rgw.sh resume DIR
#   rgw.sh kill DIR    the gateway dies at once; the data stays
#   rgw.sh start DIR   the gateway comes back, same ports
#   rgw.sh down DIR    stop everything and remove DIR
#
# RGW_HTTP, RGW_HTTPS: ports; any free ones if unset.
set -u
umask 077

AK=AKIDTEST0000000000AA
SK=secretTEST00000000000000000000000000AAAA
AK2=AKIDTEST0000000000BB
SK2=secretTEST00000000000000000000000000BBBB

die() { echo "rgw.sh: $*" >&2; exit 1; }

[ $# = 2 ] || die "usage: rgw.sh up|env|status|pause|resume|kill|start|down DIR"
cmd=$1
case $2 in /*) dir=$2 ;; *) dir=$PWD/$2 ;; esac
conf=$dir/ceph.conf

# The pid in a pid file may have become somebody else's: believe it only if
# the process was started with our configuration.
pid_of() {
	local pid
	[ -s "$dir/$1.pid" ] || return 1
	pid=$(cat "$dir/$1.pid")
	tr '\0' '\n' 2>/dev/null < "/proc/$pid/cmdline" |
	    grep -qxF -- "$conf" || return 1
	echo "$pid"
}

stop() {	# NAME...
	local name pid i
	for name; do
		pid=$(pid_of "$name") || { rm -f "$dir/$name.pid"; continue; }
		kill -CONT "$pid"
		kill "$pid"
		for ((i = 0; i < 30; i++)); do
			pid_of "$name" > /dev/null || break
			sleep 0.1
		done
		pid_of "$name" > /dev/null && kill -9 "$pid"
		rm -f "$dir/$name.pid"
	done
}

# Debian 13 has a relative path built in, which is found from nowhere.
class_dir() {
	dirname "$(dpkg -L ceph-osd ceph-base 2> /dev/null |
	    grep -m 1 '/rados-classes/libcls_version.so$')"
}

free_ports() {	# N
	/usr/bin/python3 - "$1" <<'PY'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in held))
PY
}

print_env() {
	# shellcheck source=/dev/null
	. "$dir/ports"
	cat <<-EOF
	RGW_ENDPOINT=http://127.0.0.1:$http
	RGW_ENDPOINT_TLS=https://127.0.0.1:$https
	RGW_CA=$dir/cert.pem
	RGW_FINGERPRINT=$(openssl x509 -in "$dir/cert.pem" -noout \
	    -fingerprint -sha256 | sed 's/.*=//')
	RGW_ACCESS_KEY=$AK
	RGW_SECRET_KEY=$SK
	RGW_ACCESS_KEY_2=$AK2
	RGW_SECRET_KEY_2=$SK2
	RGW_LOG=$dir/rgw.log
	RGW_PID=$(pid_of rgw)
	EOF
}

answers() {
	# shellcheck source=/dev/null
	. "$dir/ports"
	curl -s -m 5 -o /dev/null "http://127.0.0.1:$http/"
}

start_rgw() {
	local i
	radosgw -c "$conf" -n client.rgw || die "radosgw failed"
	for ((i = 0; i < 300; i++)); do
		answers && return
		sleep 0.1
	done
	tail -n 20 "$dir/rgw.log" >&2
	die "radosgw does not answer"
}

# Waits for nothing that can be told not to wait: map changes are proposed at
# once, heartbeats are rare, a gateway that was killed is soon forgotten, and
# every optional thread is off.
write_conf() {	# FSID MON HTTP HTTPS
	cat > "$conf" <<-EOF
	[global]
	fsid = $1
	mon host = v2:127.0.0.1:$2/0
	mon initial members = a
	public addr = 127.0.0.1
	cluster addr = 127.0.0.1
	auth cluster required = none
	auth service required = none
	auth client required = none
	auth allow insecure global id reclaim = false
	ms mon client mode = crc
	osd pool default size = 1
	osd pool default min size = 1
	osd pool default pg num = 4
	osd pool default pgp num = 4
	osd pool default pg autoscale mode = off
	osd crush chooseleaf type = 0
	mon allow pool size one = true
	mon warn on pool no redundancy = false
	mon max pg per osd = 2000
	mon pg warn min per osd = 0
	paxos propose interval = 0.02
	paxos min wait = 0.01
	mon tick interval = 1
	osd heartbeat interval = 30
	osd heartbeat grace = 3600
	mon osd report timeout = 86400
	mon osd down out interval = 0
	log to syslog = false
	log to stderr = false
	err to stderr = true
	mon cluster log to file = false
	clog to monitors = false
	run dir = $dir
	admin socket = $dir/\$name.asok
	crash dir = $dir/crash
	[mon]
	mon data = $dir/mon
	log file = $dir/mon.log
	pid file = $dir/mon.pid
	mon data avail crit = 1
	mon data avail warn = 2
	debug mon = 0
	debug paxos = 0
	[osd]
	osd class dir = $(class_dir)
	osd data = $dir/osd
	log file = $dir/osd.log
	pid file = $dir/osd.pid
	osd objectstore = memstore
	memstore device bytes = 17179869184
	osd max object name len = 2048
	osd max object namespace len = 256
	osd op num shards = 4
	osd op num threads per shard = 1
	osd max scrubs = 0
	osd client watch timeout = 3
	debug osd = 0
	[client.rgw]
	log file = $dir/rgw.log
	pid file = $dir/rgw.pid
	rgw frontends = beast tcp_nodelay=1 endpoint=127.0.0.1:$3 ssl_endpoint=127.0.0.1:$4 ssl_certificate=$dir/cert.pem ssl_private_key=$dir/key.pem
	rgw dns name = localhost
	rgw data = $dir/rgwdata
	rgw thread pool size = 128
	rgw enable usage log = false
	rgw enable ops log = false
	rgw dynamic resharding = false
	rgw override bucket index max shards = 1
	rgw run sync thread = false
	rgw enable lc threads = false
	rgw enable quota threads = false
	rgw crypt require ssl = false
	debug rgw = 1
	debug ms = 0
	debug objecter = 0
	[client]
	log file = $dir/client.log
	EOF
}

run() {		# COMMAND... silently, unless it fails
	"$@" > "$dir/last.log" 2>&1 && return
	cat "$dir/last.log" >&2
	die "$1 failed"
}

user() {	# NAME ACCESS-KEY SECRET-KEY
	run timeout 120 radosgw-admin -c "$conf" -n client.rgw \
	    --log-file="$dir/admin.log" user create --uid="$1" \
	    --display-name="$1" --access-key="$2" --secret-key="$3"
}

up() {
	local fsid osd mon http https i p

	for p in ceph-mon ceph-osd radosgw radosgw-admin openssl curl; do
		command -v $p > /dev/null || die "$p is missing"
	done
	[ -e "$dir/ports" ] && stop rgw osd mon
	rm -rf "$dir"
	mkdir -p "$dir"/{mon,osd,crash,rgwdata} || die "no directory $dir"
	read -r mon http https <<< "$(free_ports 3)"
	http=${RGW_HTTP:-$http}
	https=${RGW_HTTPS:-$https}
	echo "http=$http https=$https mon=$mon" > "$dir/ports"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
	    -nodes -days 3650 -subj /CN=localhost -addext \
	    'subjectAltName=DNS:localhost,DNS:*.localhost,IP:127.0.0.1' \
	    -keyout "$dir/key.pem" -out "$dir/cert.pem" 2> /dev/null ||
	    die "no certificate"
	fsid=$(cat /proc/sys/kernel/random/uuid)
	osd=$(cat /proc/sys/kernel/random/uuid)
	write_conf "$fsid" "$mon" "$http" "$https"

	run monmaptool --create --clobber --fsid "$fsid" \
	    --addv a "[v2:127.0.0.1:$mon]" "$dir/monmap"
	run ceph-mon -c "$conf" -i a --mkfs --monmap "$dir/monmap"
	run ceph-mon -c "$conf" -i a
	run timeout 60 ceph -c "$conf" osd new "$osd"
	run ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$osd"
	run ceph-osd -c "$conf" -i 0
	for ((i = 0; i < 300; i++)); do
		timeout 10 ceph -c "$conf" osd stat 2> /dev/null |
		    grep -q '1 up' && break
		sleep 0.1
	done
	user test "$AK" "$SK"
	user other "$AK2" "$SK2"
	start_rgw
}


[ "$cmd" = up ] || [ "$cmd" = down ] || [ -e "$dir/ports" ] ||
    die "nothing in $dir"
case $cmd in
up)	up; print_env ;;
env)	print_env ;;
status)	pid_of rgw > /dev/null && answers ;;
pause)	kill -STOP "$(pid_of rgw)" ;;
resume)	kill -CONT "$(pid_of rgw)" ;;
kill)	kill -9 "$(pid_of rgw)"; rm -f "$dir/rgw.pid" ;;
start)	start_rgw ;;
down)	stop rgw osd mon; rm -rf "$dir" ;;
*)	die "unknown command $cmd" ;;
esac
