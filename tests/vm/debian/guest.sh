#!/bin/bash
# SPDX-License-Identifier: MIT
# Put in front of each guest script. check NAME WANTED COMMAND: the command's output (both streams) is WANTED, a pattern of
# bash's [[ == ]]; passes NAME COMMAND: its status is 0. Every command has a time limit, so that a hang is one failure.
failures=0
export LC_ALL=C.UTF-8 HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin
cd /tmp || exit 2
verdict() { if [ "$1" = 0 ]; then echo "ok $2"; else failures=1; echo "not ok $2: $3"; fi; }
check() {
	local name=$1 want=$2 got
	shift 2
	got=$(timeout -k 5 "${LIMIT:-60}" bash -c "$*" 2>&1 < /dev/null)
	# shellcheck disable=SC2053 # WANTED is a pattern
	[[ $got == $want ]]
	verdict $? "$name" "got '$got', wanted '$want'"
}
passes() {
	local name=$1 got status
	shift
	got=$(timeout -k 5 "${LIMIT:-60}" bash -c "$*" 2>&1 < /dev/null)
	status=$?
	verdict $status "$name" "status $status: $(tail -n 5 <<< "$got")"
}
