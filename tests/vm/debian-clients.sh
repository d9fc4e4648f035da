#!/bin/bash
# SPDX-License-Identifier: MIT
# Debian's programs that ask most of a file system, unmodified, on a root of ext4 on virtio-blk: PostgreSQL's initdb, server and
# pgbench over a local socket; apt with a repository of files; fio's verify jobs; git, gcc and sqlite3 all at once. Then the server is
# killed in the middle of pgbench and recovers, and e2fsck finds nothing.
cd "$(dirname "$0")/../.." || exit 2
export PATH=$PATH:/usr/sbin:/sbin
[ "$TEST_MODE" = all ] || { echo "skip: only with TEST_MODE=all"; exit 77; }
for tool in mmdebstrap fakeroot mke2fs e2fsck cpio; do command -v $tool > /dev/null || { echo "skip: no $tool"; exit 77; }; done
make -s kernel build/user/init build/abi/stress_files || exit 1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cp --sparse=always "$(tools/mkdisk --also postgresql-15,fio)" "$dir/root.ext4" || exit 1
{ cat tests/vm/debian/guest.sh - << 'GUEST'; echo 'exit $failures'; } > "$dir/script"
cd /root
LIMIT=200
mkdir -p /run/postgresql && chown postgres /run/postgresql
cat > /usr/bin/pg << 'PG'
#!/bin/sh
exec setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/var/lib/postgresql PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin "$@"
PG
chmod +x /usr/bin/pg
check initdb '*Success*' 'cd /; pg initdb -D /var/lib/postgresql/d'
check pg-start '*server started*' 'cd /; pg pg_ctl -w -t 100 -D /var/lib/postgresql/d -l /var/lib/postgresql/log start'
check pgbench-init '*done in*' 'cd /; pg createdb bench && pg pgbench -q -i -s 2 bench'
check pgbench '*number of transactions actually processed: 400/400*' 'cd /; pg pgbench -c 4 -t 100 bench'
check pg-count 200000 'cd /; pg psql -At -c "select count(*) from pgbench_accounts" bench'
check pg-kill-in-the-middle ok 'cd /; pg pgbench -c 4 -T 60 bench > /dev/null 2>&1 & sleep 8; kill -9 $(head -1 /var/lib/postgresql/d/postmaster.pid); wait; sleep 1; echo ok'
check pg-recovers '*server started*' 'cd /; for i in 1 2 3 4 5; do pg pg_ctl -w -t 100 -D /var/lib/postgresql/d -l /var/lib/postgresql/log start && break; sleep 2; done'
check pg-sums-agree t 'cd /; pg psql -At -c "select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches)" bench'
check pg-stop '*server stopped*' 'cd /; pg pg_ctl -w -D /var/lib/postgresql/d stop'
mkdir -p repo/pk/DEBIAN repo/pk/opt
printf 'Package: loc\nVersion: 1.0\nArchitecture: all\nMaintainer: x <x@y>\nDescription: d\n' > repo/pk/DEBIAN/control
echo hi > repo/pk/opt/hi
passes repository 'cd repo && dpkg-deb -b pk loc_1.0_all.deb && { cat pk/DEBIAN/control; echo "Filename: ./loc_1.0_all.deb"; echo "Size: $(stat -c %s loc_1.0_all.deb)"; echo "SHA256: $(sha256sum < loc_1.0_all.deb | cut -d" " -f1)"; } > Packages'
echo 'deb [trusted=yes] file:/root/repo ./' > /etc/apt/sources.list
rm -rf /etc/apt/sources.list.d/*
check apt-update '*Reading package lists*' 'apt-get update'
check apt-install '*Setting up loc (1.0)*hi' 'DEBIAN_FRONTEND=noninteractive apt-get install -y loc && cat /opt/hi'
check apt-policy '*Installed: 1.0*' 'apt-cache policy loc'
check apt-remove '*Removing loc (1.0)*' 'apt-get remove -y loc; [ ! -e /opt/hi ]'
for engine in libaio psync mmap pvsync2; do
	direct=1; [ $engine = mmap ] && direct=0
	passes fio-$engine "fio --name=x --thread --directory=/root --size=8m --bs=4k --ioengine=$engine --iodepth=16 --direct=$direct --rw=randrw --verify=crc32c --verify_fatal=1 && rm -f x.*"
done
check all-at-once 'done' '
	(git init -q r && cd r && git config user.email a@b && git config user.name n && cp -r /usr/include/linux . && git add -A && git commit -qm one && git clone -q . ../c && cd ../c && git fsck --no-progress 2> /dev/null) > log.git 2>&1 & a=$!
	(mkdir lua && tar -C lua --strip-components=1 -xf /usr/src/lua.tar.gz && make -s -C lua/src linux-noreadline MYCFLAGS=-O0 && lua/src/lua -e "print(6*7)") > log.lua 2>&1 & b=$!
	sqlite3 t.db "pragma journal_mode=wal; pragma synchronous=full; create table t(a int, b text); insert into t select value, hex(randomblob(50)) from generate_series(1,3000); pragma integrity_check;" > log.sqlite 2>&1 & d=$!
	wait $a && wait $b && wait $d && tail -qn 1 log.lua log.sqlite | tr "\n" " " | grep -q "42 ok" && diff -r c/linux /usr/include/linux && echo done'
passes stress-files '/mnt/stress_files /root 7 3000'
passes sync-all 'rm -rf r c lua && sync'
GUEST
tools/qemu-run --root "$dir/root.ext4" --mem 1G --timeout 900 --add "$dir/script:/script" --add build/abi/stress_files:/stress_files -- bash /mnt/script < /dev/null 2> "$dir/log" | sed 's/\r$//'
status=${PIPESTATUS[0]}
grep -E 'ext4|panic|error' "$dir/log" | head
if e2fsck -fn "$dir/root.ext4" > "$dir/fsck" 2>&1; then echo "ok e2fsck finds nothing"; else cat "$dir/fsck"; echo "not ok e2fsck"; status=1; fi
exit "$status"
