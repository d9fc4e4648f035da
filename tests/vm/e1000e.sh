#!/bin/bash
# SPDX-License-Identifier: MIT
# Intel's 82574 as QEMU has it: address by DHCP, files over HTTP in both directions, streams both ways, a burst of datagrams that is
# longer than the ring and what waits for it, a cable that is pulled. What QEMU saw on the wire judges the card's counters.
cd "$(dirname "$0")/../.." || exit 2
for p in qemu-system-x86_64 curl python3 iperf3 tcpdump; do
	PATH=$PATH:/usr/sbin:/sbin command -v $p > /dev/null || { echo "skip: no $p"; exit 77; }
done
. tests/vm/net/host.sh
tmp=$(mktemp -d) && trap 'kill $server $iperf 2> /dev/null; rm -rf "$tmp"' EXIT

mkdir "$tmp/out" "$tmp/in"
head -c 6000000 /dev/urandom > "$tmp/out/file"
head -c 6000000 /dev/urandom > "$tmp/in/file"
port=$(free_port) streams=$(free_port) web=$(free_port) stop=$(free_port)
python3 -m http.server --bind 127.0.0.1 --directory "$tmp/out" "$port" > /dev/null 2>&1 &
server=$!
iperf3 -s -B 127.0.0.1 -p "$streams" > /dev/null 2>&1 &
iperf=$!

cat > "$tmp/guest" <<'GUEST'
until_it() { n=0; until "$@"; do n=$((n + 1)); [ $n -lt 300 ] || return 1; sleep 0.1; done; }
runs() { ifconfig eth0 | grep -q RUNNING; }
rests() { ! runs; }
ok() { what=$1; shift; if "$@" > /tmp/said 2>&1; then echo "ok $what"; else echo "not ok $what: $(tail -3 /tmp/said)"; fi; }
ifconfig eth0 | grep -q 'HWaddr 52:54:00:0E:10:00' && echo "ok the card's own address"
ifconfig eth0 | grep -q 'inet addr:10.0.2.15  Bcast:10.0.2.255  Mask:255.255.255.0' && echo "ok address by DHCP"
ping -c 2 -W 5 10.0.2.2 | grep -q ' 2 packets received' && echo "ok ping"
wget -q -O - "http://10.0.2.2:$1/file" | sha256sum | sed 's/^/fetched /'
httpd -p 80 -h /www
echo "host fetch"
nc -l -p 81 > /dev/null
ok "streams out" iperf3 -c 10.0.2.2 -p $2 -P 4 -n 16M
ok "streams in" iperf3 -c 10.0.2.2 -p $2 -P 4 -n 16M -R
ok "a burst" iperf3 -c 10.0.2.2 -p $2 -u -b 0 -l 1400 -k 6000
echo "monitor set_link card off"
ok "the cable is pulled" until_it rests
echo "monitor set_link card on"
ok "and put in again" until_it runs
ok "all is well after it" ping -c 1 -W 5 10.0.2.2
wget -q -O - "http://10.0.2.2:$1/file" | sha256sum | sed 's/^/fetched /'
sleep 1
sed -n 's/^ *eth0: *//p' /proc/net/dev | tr -s ' ' | sed 's/^/counters /'
echo finished
GUEST

# Lines "monitor WORDS" go to QEMU's monitor; "host fetch": this machine's turn.
cat > "$tmp/relay" <<'END'
import socket, subprocess, sys
path, web, stop, got = sys.argv[1:]
monitor = None
for line in sys.stdin:
    line = line.strip()
    if line.startswith("monitor "):
        if not monitor:
            monitor = socket.socket(socket.AF_UNIX)
            monitor.connect(path)
        monitor.sendall(line[8:].encode() + b"\n")
    elif line == "host fetch":
        subprocess.run(["curl", "-s", "-m", "60", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "-o", got, f"http://127.0.0.1:{web}/file"])
        socket.create_connection(("127.0.0.1", int(stop))).close()
    else:
        print(line, flush=True)
END
timeout 170 tools/qemu-run --debug-kernel --cpus 2 --timeout 160 --program iperf3 --add "$tmp/guest:/guest" --add "$tmp/in:/www" --append ip=dhcp \
	--qemu "-netdev user,id=net0,hostfwd=tcp:127.0.0.1:$web-:80,hostfwd=tcp:127.0.0.1:$stop-:81 -device e1000e,netdev=net0,id=card,mac=52:54:00:0e:10:00 \
-object filter-dump,id=wire,netdev=net0,file=$tmp/wire,maxlen=64 -monitor unix:$tmp/monitor,server=on,wait=off" \
	-- sh /guest "$port" "$streams" 2> "$tmp/log" < /dev/null | python3 "$tmp/relay" "$tmp/monitor" "$web" "$stop" "$tmp/got" > "$tmp/said"

on_wire() { PATH=$PATH:/usr/sbin:/sbin tcpdump -nr "$tmp/wire" "$@" 2> /dev/null | wc -l; }
counter() { sed -n 's/^counters //p' "$tmp/said" | cut -d ' ' -f "$1"; }
for what in "the card's own address" "address by DHCP" ping "streams out" "streams in" "a burst" "the cable is pulled" "and put in again" "all is well after it"; do
	is "$what" 1 "$(grep -cx "ok $what" "$tmp/said")"
done
out=$(sha256sum < "$tmp/out/file")
is "the guest reads from this machine, before and after" "$out $out" "$(sed -n 's/^fetched //p' "$tmp/said" | tr '\n' ' ' | sed 's/ $//')"
is "this machine reads from the guest" "$(sha256sum < "$tmp/in/file")" "$(sha256sum < "$tmp/got")"
is "frames received, none bad" "$(on_wire ether dst 52:54:00:0e:10:00 or ether multicast and not ether src 52:54:00:0e:10:00) 0" "$(($(counter 2) + $(counter 4))) $(counter 3)"
is "frames sent" "$(on_wire ether src 52:54:00:0e:10:00)" "$(($(counter 10) - $(counter 12)))"
is "many more than the ring has" 1 "$(($(counter 10) > 10000))"
is finished 1 "$(grep -cx finished "$tmp/said")"
[ $failures = 0 ] || { grep -v '^ok' "$tmp/said"; tail -n 20 "$tmp/log"; }
exit $((failures != 0))
