#!/bin/bash
# SPDX-License-Identifier: MIT
# What a newcomer meets: a clean Debian 12 without any of a developer's packages, a clone of the last commit, and the two
# commands of the README, which must install what they need. Long (it tests everything once more), so only in
# `./test --all`; arguments: the commands to run instead, one each. Packages come from where this machine gets its own.
set -eu
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || [ "${TEST_MODE:-}" = all ] || { echo "skip: only in ./test --all"; exit 77; }
[ $# -gt 0 ] || set -- "./run demo" "./test"
[ "$(id -u)" = 0 ] || { echo "skip: a clean root needs root"; exit 77; }
command -v mmdebstrap > /dev/null || { echo "skip: no mmdebstrap"; exit 77; }

tmp=$(mktemp -d)
root=$tmp/root
trap 'rm -rf --one-file-system "$tmp"' EXIT
cat /etc/apt/sources.list.d/*.sources > "$tmp/all.sources" 2> /dev/null || true
cat /etc/apt/sources.list > "$tmp/all.list" 2> /dev/null || true
sources=()
for s in "$tmp/all.sources" "$tmp/all.list"; do [ -s "$s" ] && sources+=("$s"); done
mmdebstrap --quiet --variant=minbase --include=ca-certificates bookworm "$root" "${sources[@]}"
for d in apt.conf.d auth.conf.d; do
	[ -d /etc/apt/$d ] && cp -rn /etc/apt/$d/. "$root/etc/apt/$d/"
done
echo force-unsafe-io > "$root/etc/dpkg/dpkg.cfg.d/unsafe-io" # nobody keeps this root
rm -f "$root/etc/apt/apt.conf.d/"docker* "$root/etc/apt/apt.conf.d/20packagekit"
git clone -q --no-hardlinks . "$root/ostrom"
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp /etc/hosts "$root/etc/hosts"

# Mounts live in a namespace of their own and go with it, whatever happens to this script.
inside() {
	unshare --mount --pid --fork --kill-child bash -c '
		root=$1; shift
		mount --rbind /dev "$root/dev"; mount -t proc proc "$root/proc"; mount --rbind /sys "$root/sys"; mount -t tmpfs tmpfs "$root/tmp"
		exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C sh -c "cd /ostrom && $*"' \
		- "$root" "$@" < /dev/null
}
for command; do
	start=$SECONDS
	inside "$command" > "$tmp/log" 2>&1 && status=0 || status=$?
	tail -40 "$tmp/log"
	echo "$command: status $status after $((SECONDS - start)) s on a fresh machine"
	[ $status = 0 ] || exit 1
done
