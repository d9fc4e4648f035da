#!/bin/bash
# SPDX-License-Identifier: MIT
# A machine whose work hangs the GPU, on the software GPU under icount: after the timeout the device is reset, that machine's virtual GPU
# is lost, and its control group pays; another machine and a program of the host, in the middle of their frames, finish all of them. The
# lost one's driver resets its virtual GPU and draws again.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/lib/check.sh
on_failure='tail -40 "$dir/out"; tail -20 "$dir/err"; on_failure='
make -s kernel build/user/init build/user/ostrom-vm build/programs/gpujobs || exit 1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
tests/vm/guest/build frames "$dir/frames" || exit 1
cat > "$dir/script" <<'S'
cd /sys/fs/cgroup; mount -t cgroup2 none .; cd /sys/fs/cgroup; echo +gpu > cgroup.subtree_control; mkdir red green host
hang=/sys/module/swgpu/parameters/hang
start() { # GROUP COMMAND PERCENT: its number in $p, its device in $d
	(echo 0 > $1/cgroup.procs; exec /ostrom vm run --kernel /frames --mem 16M --gpu "$3" --append "$2") > /log.$1 2>&1 & p=$!
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 0.1; grep -q '^holding' /log.$1 && break; done
	for d in /sys/bus/mdev/devices/*; do [ "$d" = "$first" ] || break; done
}
stat() { sed -n "s/^$2 //p" $1; }
both() { echo "$(stat $first/vendor/statistics $1) $(stat $second/vendor/statistics $1)"; }
start red "R again" 25%; a=$p first=$d
start green G 50%; b=$p second=$d
/ostrom vm screenshot $b /before.ppm
(echo 0 > host/cgroup.procs; exec gpujobs count 1000 9) > /host & h=$!
sleep 0.5; echo "SUBMITTED $(both submits)"
basename $first > $hang; sleep 1; echo > $hang # the one that hangs now does so for ever
echo "HUNG $(both finished) $(stat red/gpu.stat usage_usec)"; sleep 0.5
echo "STILL $(both finished)"; sleep 1
echo "AFTER $(both finished) $(stat red/gpu.stat usage_usec)"; sleep 1
echo "LATER $(both finished)"
wait $h; echo "HOST $? $(cat /host)"
echo "REFUSED $(both refused)"
echo "HANGS $(for c in red green host; do stat $c/gpu.stat hangs; done | tr '\n' ' ')"
/ostrom vm screenshot $b /after.ppm; cmp /before.ppm /after.ppm && echo "same picture"
kill -9 $b; wait $b # the lost one has used its share for some time: it comes when nobody else wants the GPU
for i in $(seq 50); do [ "$(grep -c '^holding' /log.red)" = 2 ] && break; sleep 0.1; done
again=$(stat $first/vendor/statistics finished); sleep 0.5; echo "AGAIN $again $(stat $first/vendor/statistics finished)"
echo "RED $(tr '\n' ' ' < /log.red)"; echo "GREEN $(tr '\n' ' ' < /log.green)"
kill -9 $a
S
timeout 200 tools/qemu-run --icount --timeout 190 --append swgpu --add build/programs/gpujobs:/bin/gpujobs --add build/user/ostrom-vm:/ostrom \
	--add "$dir/frames:/frames" --add "$dir/script:/script" -- sh /script > "$dir/out" 2> "$dir/err"
value() { sed -n "s/^$1 //p" "$dir/out" | cut -d ' ' -f "$2"; } # LINE FIELD
more() { [ "$(value "$1" "$3")" -gt "$(value "$2" "$3")" ]; }      # LINE THAN FIELD
check "a submission of a machine hangs, and the GPU with it" "[ -n '$(value HUNG 1)' ] && [ '$(value HUNG 1-2)' = '$(value STILL 1-2)' ]"
check "after two seconds the device is reset, once" "[ \$(grep -c 'gpu0: a job of .* took more than 2000 ms: reset' $dir/err) = 1 ]"
is "the hang is counted in its group alone" "$(value HANGS 1-3)" "1 0 0"
check "its group pays for it" "[ $(($(value AFTER 3) - $(value HUNG 3))) -gt 1900000 ]"
is "its virtual GPU is lost; its driver begins again" "$(value RED 1-)" "holding lost holding "
check "and draws" "[ $(($(value AGAIN 2) - $(value AGAIN 1))) -gt 200 ]"
check "the other machine goes on, and nothing of it was refused" "more AFTER STILL 2 && more LATER AFTER 2 && [ '$(value REFUSED 2)' = 0 ]"
is "it notices nothing" "$(value GREEN 1-)" "holding "
check "its picture is the same" "grep -q '^same picture' $dir/out"
is "the host's program finishes all frames" "$(value HOST 1-)" "0 1000"
exit $failed
