#!/bin/bash
# SPDX-License-Identifier: MIT
# The network card: address by DHCP, ping, files over HTTP in both directions between this machine and the guest, on both kinds
# of machine, with busybox' clients inside and curl and Python's server outside.
cd "$(dirname "$0")/../.." || exit 2
command -v curl > /dev/null && command -v python3 > /dev/null || { echo "skip: no curl or python3"; exit 77; }
. tests/vm/net/host.sh
tmp=$(mktemp -d) && trap 'kill $server 2> /dev/null; rm -rf "$tmp"' EXIT
make -s kernel build/user/init || exit 1

mkdir "$tmp/out" "$tmp/in"
head -c 3000000 /dev/urandom > "$tmp/out/file"
head -c 3000000 /dev/urandom > "$tmp/in/file"
out=$(sha256sum < "$tmp/out/file") in=$(sha256sum < "$tmp/in/file")
port=$(free_port)
python3 -m http.server --bind 127.0.0.1 --directory "$tmp/out" "$port" > /dev/null 2>&1 &
server=$!

cat > "$tmp/guest" <<'GUEST'
ifconfig eth0 | grep -q 'inet addr:10.0.2.15  Bcast:10.0.2.255  Mask:255.255.255.0' && echo "ok address by DHCP"
route -n | grep -q '^0.0.0.0 *10.0.2.2 ' && echo "ok default route"
grep -q 'nameserver 10.0.2.3' /etc/resolv.conf && echo "ok name server"
ping -c 2 -W 5 10.0.2.2 | grep -q ' 2 packets received' && echo "ok ping"
ping -c 1 -W 5 -s 3000 127.0.0.1 | grep -q ' 1 packets received' && echo "ok ping itself"
grep -q '^10.0.2.2  *0x1  *0x2 ' /proc/net/arp && echo "ok neighbour"
wget -q -O - "http://10.0.2.2:$1/file" | sha256sum | sed 's/^/fetched /'
wget -q -O /dev/null "http://10.0.2.2:1/" 2>&1 | grep -q refused && echo "ok refused"
httpd -p 80 -h /www
echo ready > /dev/console
nc -l -p 81 > /dev/null
GUEST

for machine in q35 microvm; do
	web=$(free_port) stop=$(free_port)
	tools/qemu-run --machine $machine --timeout 100 --forward "$web:80" --forward "$stop:81" --add "$tmp/guest:/guest" \
		--add "$tmp/in:/www" -- sh /guest "$port" > "$tmp/said" 2> "$tmp/log" < /dev/null &
	guest=$!
	for _ in $(seq 100); do
		curl -s -m 20 -o "$tmp/got" "http://127.0.0.1:$web/file" && break
		kill -0 $guest 2> /dev/null || break
		sleep 0.5
	done
	is "$machine: this machine reads from the guest" "$in" "$(sha256sum < "$tmp/got")"
	: > "/dev/tcp/127.0.0.1/$stop"
	wait $guest
	is "$machine: exit status" 0 $?
	for what in "address by DHCP" "default route" "name server" ping "ping itself" neighbour refused; do
		is "$machine: $what" 1 "$(tr -d '\r' < "$tmp/said" | grep -cx "ok $what")"
	done
	is "$machine: the guest reads from this machine" "$out" "$(sed -n 's/^fetched //p' "$tmp/said" | tr -d '\r')"
	[ $failures = 0 ] || cat "$tmp/said" "$tmp/log"
done
exit $((failures != 0))
