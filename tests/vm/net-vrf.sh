#!/bin/bash
# SPDX-License-Identifier: MIT
# VRFs with Debian's ip: two of them with the same addresses on either side, told apart by whom a socket is bound to; `ip vrf exec`
# (a program at BPF_CGROUP_INET_SOCK_CREATE), SO_BINDTODEVICE, listeners inside and outside. ORACLE=1 runs the same on Debian's Linux.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/net/host.sh
list=$(programs ip ss ping nc) || exit $?
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT

{ echo "$guest_checks"; cat <<'GUEST'; } > "$tmp/guest"
which() { if [ -e "/net/$1" ]; then echo "/net/$1"; else echo "/bin/$1"; fi; }
ip=$(which ip) ss=$(which ss) ping=$(which ping) nc=$(which nc)
mount | grep -q cgroup2 || mount -t cgroup2 cgroup2 /sys/fs/cgroup
for c in red blue; do
	mkdir -p /run/netns
	: > /run/netns/$c
	unshare -n sleep 1000 &
	until_true '[ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/self/ns/net)" ]'
	mount -o bind "/proc/$!/ns/net" /run/netns/$c
	$ip link add to-$c type veth peer name eth netns $c
	$ip netns exec $c sh -c "$ip addr add 10.9.0.2/24 dev eth; $ip link set eth up; $ip link set lo up; $ip route add default via 10.9.0.1"
done
check "a VRF needs a table" 'said' "$ip link add red type vrf 2>&1 | grep -q . && echo said"
check "made" '' "$ip link add red type vrf table 10 && $ip link add blue type vrf table 1020 && $ip link set red up && $ip link set blue up"
check "its flags" '*red: <NOARP,MASTER,UP,LOWER_UP> mtu 65575*link/ether*vrf table 10 *' "$ip -d link show red"
for c in red blue; do
	$ip addr add 10.9.0.1/24 dev to-$c
	$ip link set to-$c up
	$ip link set to-$c master $c
done
check "the rule" '*1000:*from all lookup \[l3mdev-table\]*' "$ip rule"
check "members" '*to-red@*master red state*' "$ip link show vrf red"
check "of one VRF only" '' "$ip link show vrf red | grep blue"
check "ip link show type vrf" '*red*blue*' "$ip -br link show type vrf"
check "a member's details" '*vrf_slave table 1020*' "$ip -d link show to-blue"
check "ip vrf" '*red*10*blue*1020*' "$ip vrf"
check "routes" '10.9.0.0/24 dev to-red proto kernel scope link src 10.9.0.1*' "$ip route show vrf red"
check "not in main" '' "$ip route | grep 10.9.0"
check "local ones" '*local 10.9.0.1 dev to-blue proto kernel scope host src 10.9.0.1*' "$ip route show table 1020"
check "route get" '10.9.0.2 dev to-red table 10 src 10.9.0.1*' "$ip route get vrf red 10.9.0.2"
check "and without" '*unreachable*' "$ip route get 10.9.0.2"
check "a gateway inside" 'default via 10.9.0.2 dev to-red*' "$ip route add vrf red default via 10.9.0.2 && $ip route show vrf red default"
check "ping -I" '*1 received, 0% packet loss*' "$ping -n -c 1 -W 10 -I red 10.9.0.2"
check "ping by the member" '*1 received, 0% packet loss*' "$ping -n -c 1 -W 10 -I to-blue 10.9.0.2"
check "ping to itself" '*1 received, 0% packet loss*' "$ping -n -c 1 -W 10 -I red 10.9.0.1"
check "ping without" '*unreachable*' "$ping -n -c 1 -W 1 10.9.0.2"
check "asked from outside" '*1 received, 0% packet loss*' "$ip netns exec blue $ping -n -c 1 -W 10 10.9.0.1"
check "in fragments" '*1 received, 0% packet loss*' "$ip netns exec blue $ping -n -c 1 -s 4000 -W 10 10.9.0.1"
check "ip vrf exec" '*1 received, 0% packet loss*' "$ip vrf exec red $ping -n -c 1 -W 10 10.9.0.2"
check "identify" 'red*' "$ip vrf exec red $ip vrf identify"
check "pids" '*sleep*' "$ip vrf exec blue sleep 30 > /dev/null & until_true \"$ip vrf pids blue | grep sleep\""

for c in red blue; do
	(echo "I am $c"; sleep 20) | $ip netns exec $c $nc -l -p 7000 > /tmp/heard-$c &
	until_true "$ip netns exec $c $ss -tln | grep -q :7000"
done
for c in red blue; do
	check "TCP to $c" "I am $c" "echo from $c | $ip vrf exec $c $nc -w 2 10.9.0.2 7000"
	check "what $c heard" "from $c" "until_true 'grep -q from /tmp/heard-$c'; cat /tmp/heard-$c"
done
check "TCP to nobody" '*refused' "! $nc -w 1 10.9.0.2 7000 < /dev/null && echo refused"

(echo "outside"; sleep 20) | $nc -l -p 7001 > /dev/null &
until_true "$ss -tln | grep -q :7001"
check "a listener outside the VRFs does not hear them" '*refused*' "$ip netns exec red $nc -v -w 2 10.9.0.1 7001 < /dev/null"
for c in red blue; do
	(echo "for $c"; sleep 20) | $ip vrf exec $c $nc -l -p 7002 > /dev/null &
done
check "one port in both VRFs" '2' "until_true '[ \$($ss -tln | grep -c :7002) = 2 ]'; $ss -tln | grep -c :7002"
for c in red blue; do
	check "the listener in $c" "for $c" "$ip netns exec $c $nc -w 2 10.9.0.1 7002 < /dev/null"
done
check "ss names the device" '*%red:7003*' "$ip vrf exec red $nc -l -p 7003 > /dev/null 2>&1 & until_true \"$ss -tlnH | grep 7003\""
$ip vrf exec red $nc -u -l -p 7004 > /tmp/datagram-red &
$ip vrf exec blue $nc -u -l -p 7004 > /tmp/datagram-blue &
until_true "[ \$($ss -uan | grep -c :7004) = 2 ]"
echo "for blue" | $ip netns exec blue $nc -u -w 1 10.9.0.1 7004
check "UDP" ':for blue' "until_true 'test -s /tmp/datagram-blue'; cat /tmp/datagram-red; echo \":\$(cat /tmp/datagram-blue)\""
check "out of it" '10.9.0.0/24 dev to-red*' "$ip link set to-red nomaster && $ip route show 10.9.0.0/24"
check "and now without a VRF" '*1 received, 0% packet loss*' "$ping -n -c 1 -W 10 10.9.0.2"
check "the VRF goes, its members stay" '*to-blue@*' "$ip link del blue; $ip link show to-blue; $ip -d link show to-blue | grep -c vrf_slave | grep -v 0"
check "not for other devices" 'refused' "$ip link set lo master red 2>&1 | grep -q . && echo refused"
exit $failures
GUEST
if [ -n "$ORACLE" ]; then
	tools/linux-guest -m vrf -m veth -b ip -b ss -b ping -b nc -t 240 -f "$tmp/guest:/guest" -- sh /guest
	exit
fi
make -s kernel DEBUG=1 && make -s build/user/init || exit 1
# shellcheck disable=SC2086
tools/qemu-run --kernel build/debug/ostrom.elf --cpus 2 --timeout 240 $list --add "$tmp/guest:/guest" -- sh /guest < /dev/null 2> "$tmp/log"
status=$?
[ $status = 0 ] || tail -20 "$tmp/log"
exit $status
