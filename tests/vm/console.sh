#!/bin/bash
# SPDX-License-Identifier: MIT
# A person at each console: the serial port and the virtio console, on both machines, through a pty (console/drive.py); which of them is
# /dev/console; and a command's bytes over each.
set -u
cd "$(dirname "$0")/../.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0
timeout 500 python3 tests/vm/console/drive.py --console serial || failed=1
timeout 500 python3 tests/vm/console/drive.py --console virtio --cpus 2 --debug-kernel || failed=1
timeout 500 python3 tests/vm/console/drive.py --console virtio --machine microvm || failed=1

seq 1 100000 > "$tmp/wanted"
for c in serial virtio; do
	timeout 110 tools/qemu-run --timeout 100 --console $c -- seq 1 100000 > "$tmp/got" 2> "$tmp/log"
	if cmp -s "$tmp/wanted" "$tmp/got"; then echo "ok $c output is whole"; else echo "not ok $c output"; failed=1; fi
done
where() { # WANTED "CONSOLE= WORDS": where /dev/console leads
	local got
	got=$(timeout 110 tools/qemu-run --timeout 100 --console virtio --qemu "-serial file:$tmp/serial" --append "$2" -- sh -c 'echo here > /dev/console' 2> /dev/null)
	grep -q here "$tmp/serial" && got="on the port"
	# shellcheck disable=SC2254 # it is a pattern
	case $got in
	$1) echo "ok $2" ;;
	*) echo "not ok $2: $got"; failed=1 ;;
	esac
}
where "*here*" console=hvc0
where "*here*" "console=ttyS0 console=hvc0"
where "on the port" "console=hvc0 console=ttyS0,115200"
exit $failed
