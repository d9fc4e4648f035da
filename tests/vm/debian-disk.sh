#!/bin/bash
# SPDX-License-Identifier: MIT
# Debian 12 with its root on ext4, as `./run --root debian-disk` has it: sqlite3 with WAL and synchronous=FULL, git clone and gc, gcc and
# make, dpkg with a package of our own, mapped files, attributes and access lists; afterwards e2fsck finds nothing.
cd "$(dirname "$0")/../.." || exit 2
export PATH=$PATH:/usr/sbin:/sbin
[ "$TEST_MODE" = all ] || { echo "skip: only with TEST_MODE=all"; exit 77; }
for tool in mmdebstrap fakeroot mke2fs e2fsck cpio; do command -v $tool > /dev/null || { echo "skip: no $tool"; exit 77; }; done
make -s kernel build/user/init || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cp --sparse=always "$(tools/mkdisk)" "$dir/root.ext4" || exit 1
{ cat tests/vm/debian/guest.sh - << 'GUEST'; echo 'exit $failures'; } > "$dir/script"
cd /root
check root 'ext4 /dev/vda' 'findmnt -n -o FSTYPE,SOURCE / | tr -s " "'
check sqlite-wal $'wal\n2000\nok' "sqlite3 t.db 'pragma journal_mode=wal; pragma synchronous=full; create table t(a int, b text);
	insert into t select value, hex(randomblob(50)) from generate_series(1,2000); select count(*) from t; pragma integrity_check;'"
check sqlite-rollback $'delete\n500' "sqlite3 t2.db 'pragma journal_mode=delete; pragma synchronous=full; create table t(a);
	insert into t select value from generate_series(1,500); select count(*) from t;'"
check git '*git-ok' 'git init -q r && cd r && git config user.email a@b && git config user.name n && cp -r /usr/include/linux/netfilter . &&
	git add -A && git commit -qm one && git clone -q . ../c && cd ../c && git gc -q && git fsck --no-progress && diff -r netfilter /usr/include/linux/netfilter && echo git-ok'
printf 'all: a b\n%%: %%.c\n\tgcc -O1 -o $@ $<\n' > Makefile
echo '#include <stdio.h>
int main(void) { puts("compiled"); }' | tee a.c > b.c
check make '*compiled' 'make -s -j2 && ./a'
mkdir -p pk/DEBIAN pk/opt
printf 'Package: loc\nVersion: 1\nArchitecture: all\nMaintainer: x <x@y>\nDescription: d\n' > pk/DEBIAN/control
echo hi > pk/opt/hi
check dpkg '*hi*install ok installed*' 'dpkg-deb -b pk p.deb && dpkg -i p.deb && cat /opt/hi && dpkg -s loc'
check dpkg-remove '*Removing loc*' 'dpkg -r loc; [ ! -e /opt/hi ]'
check mapped "b'v' b'hello'" "python3 -c \"
import mmap,os
f=open('m','w+b'); f.truncate(100000); m=mmap.mmap(f.fileno(),0); m[5000:5005]=b'hello'; m.flush()
os.setxattr('m','user.k',b'v'); print(os.getxattr('m','user.k'), open('m','rb').read()[5000:5005])\""
check acl '*user:1000:rw-*' 'setfacl -m u:1000:rw m && getfacl m'
check sparse 'ok' 'truncate -s 20M s && echo x >> s && [ $(stat -c %b s) -lt 100 ] && fallocate -l 5M f && [ $(stat -c %b f) -ge 10240 ] &&
	fallocate -p -o 1M -l 1M f && [ $(stat -c %b f) -lt 8300 ] && cp --sparse=auto s s2 && cmp s s2 && echo ok'
check rm-rf ok 'rm -rf r c s s2 f && sync && echo ok'
GUEST
tools/qemu-run --root "$dir/root.ext4" --mem 1G --timeout 280 --add "$dir/script:/script" -- bash /mnt/script < /dev/null 2> "$dir/log" | sed 's/\r$//'
status=${PIPESTATUS[0]}
grep -E 'ext4|panic|error' "$dir/log" | head
if e2fsck -fn "$dir/root.ext4" > "$dir/fsck" 2>&1; then echo "ok e2fsck finds nothing"; else cat "$dir/fsck"; echo "not ok e2fsck"; status=1; fi
exit "$status"
