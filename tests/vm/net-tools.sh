#!/bin/bash
# SPDX-License-Identifier: MIT
# Debian's ip, ss, ping and tcpdump on the kernel: devices, addresses, routes, neighbours, a pair of devices
# between two network namespaces, captured packets. On the build with all checks.
cd "$(dirname "$0")/../.." || exit 2
. tests/vm/net/host.sh
list=$(programs ip ss ping tcpdump nc) || exit $?
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
make -s kernel DEBUG=1 && make -s build/user/init || exit 1

{ echo "$guest_checks"; cat <<'GUEST'; } > "$tmp/guest"
ip=/net/ip ss=/net/ss ping=/net/ping
check "ip addr" '*lo: <LOOPBACK,UP,LOWER_UP> mtu 65536*inet 127.0.0.1/8 scope host lo*inet6 ::1/128 scope host*' "$ip addr show dev lo"
check "ip addr of the card" '*inet 10.0.2.15/24 brd 10.0.2.255 scope global eth0*' "$ip addr show dev eth0"
check "ip route" '*default via 10.0.2.2 dev eth0*10.0.2.0/24 dev eth0 proto kernel scope link src 10.0.2.15*' "$ip route"
check "ip route get" '8.8.8.8 via 10.0.2.2 dev eth0 src 10.0.2.15*' "$ip route get 8.8.8.8"
check "ip route get local" 'local 127.0.0.1 dev lo*src 127.0.0.1*' "$ip route get 127.0.0.1"
check "ping the gateway" '*2 received, 0% packet loss*' "$ping -n -c 2 -i 0.3 -W 10 10.0.2.2"
check "ip neigh" '*10.0.2.2 dev eth0 lladdr 52:55:0a:00:02:02 *' "$ip -4 neigh"
check "ip neigh add" '*10.0.2.77 dev eth0 lladdr 02:00:00:00:00:01 PERMANENT*' "$ip neigh add 10.0.2.77 lladdr 02:00:00:00:00:01 dev eth0; $ip neigh"
check "ip neigh del" '' "$ip neigh del 10.0.2.77 dev eth0; $ip neigh | grep 10.0.2.77"
check "an address that is there" '*File exists*' "$ip addr add 10.0.2.15/24 dev eth0"
check "a gateway that is none" '*unreachable*' "$ip route add 10.99.0.0/16 via 10.98.0.1"
check "route add, replace, del" '*10.99.0.0/16 via 10.0.2.4 dev eth0 metric 7*' "$ip route add 10.99.0.0/16 via 10.0.2.3 metric 7 && $ip route replace 10.99.0.0/16 via 10.0.2.4 metric 7 && $ip route && $ip route del 10.99.0.0/16"
check "blackhole" '*Invalid argument*' "$ip route add blackhole 10.97.0.0/16; $ping -c 1 10.97.0.1"
check "prohibit" "*Permission denied*" "$ip route add prohibit 10.96.0.0/16; $ip route get 10.96.0.1"
check "ip rule" '0:*from all lookup local*32766:*from all lookup main*' "$ip rule"
$ip monitor link > /tmp/monitor &
monitor=$!
sleep 0.5

check "ip netns" 'blue*' "$ip netns add blue && $ip netns"
check "a pair" '*v1@v0*link/ether*v0@v1*' "$ip link add v0 type veth peer name v1 && $ip link show type veth"
check "ip monitor" "*: v0: <BROADCAST*" "until_true \"grep -q v0: /tmp/monitor\"; cat /tmp/monitor"
kill $monitor
check "into the namespace" '' "$ip link set v1 netns blue && $ip link show v1 2> /dev/null"
check "up" '' "$ip addr add 10.1.0.1/24 dev v0 && $ip link set v0 up mtu 1400"
check "the other end" '*v1*inet 10.1.0.2/24 scope global v1*inet6 fe80::*' "$ip netns exec blue $ip addr add 10.1.0.2/24 dev v1 && $ip netns exec blue $ip link set v1 up && $ip netns exec blue $ip link set lo up && $ip netns exec blue $ip addr show dev v1"
check "ping" '*3 received, 0% packet loss*' "$ping -n -c 3 -i 0.3 -W 10 10.1.0.2"
check "ping back, in fragments" '*1 received, 0% packet loss*' "$ip netns exec blue $ping -n -c 1 -W 10 -s 8000 10.1.0.1"
check "ping by IPv6" '*1 received, 0% packet loss*' "$ping -n -c 1 -W 10 -s 4000 \$($ip netns exec blue $ip -6 -br addr show dev v1 | grep -o 'fe80[^/]*')%v0"
check "nobody there" '*Destination Host Unreachable*' "$ping -n -c 1 -W 10 10.1.0.99"
check "no way out of it" '*Network is unreachable*' "$ip netns exec blue $ping -n -c 1 8.8.8.8"

sleep 12 | $ip netns exec blue /bin/busybox nc -l -p 7777 > /tmp/got &
until_true "$ip netns exec blue $ss -tln | grep -q :7777"
check "ss listens there" '*LISTEN*:7777*users:((*' "$ip netns exec blue $ss -tlnp"
check "and not here" '' "$ss -tln | grep 7777"
(sleep 4; echo hello) | nc 10.1.0.2 7777 &
check "ss shows the connection" '*ESTAB*10.1.0.1:*10.1.0.2:7777*cubic*wscale:7,7*mss:1348*' "until_true '$ss -tn | grep -q ESTAB'; $ss -tni"
check "bytes between namespaces" 'hello' 'until_true "grep -q hello /tmp/got"; cat /tmp/got'
/net/tcpdump -Z root -nn -c 4 -i v0 icmp > /tmp/captured 2> /tmp/told &
until_true 'grep -q listening /tmp/told'
$ping -n -c 2 -i 0.3 -W 10 10.1.0.2 > /dev/null
check "tcpdump" '*IP 10.1.0.1 > 10.1.0.2: ICMP echo request, id *, seq 1, length 64*IP 10.1.0.2 > 10.1.0.1: ICMP echo reply*' 'until_true "grep -q captured /tmp/told"; cat /tmp/captured'
check "tcpdump counts" '*4 packets captured*0 packets dropped by kernel*' 'cat /tmp/told'
/net/tcpdump -Z root -nn -U -w /tmp/file -c 1 -i lo udp port 7999 2> /tmp/told-lo &
until_true 'grep -q listening /tmp/told-lo'
echo one | /net/nc -u -w 1 127.0.0.1 7999
check "tcpdump on loopback, to a file and back" '*127.0.0.1.7999: UDP, length 4*' 'until_true "grep -q captured /tmp/told-lo"; /net/tcpdump -Z root -nn -r /tmp/file 2> /dev/null'
check "/proc/net/dev" '*lo:*eth0:*v0:*' 'cat /proc/net/dev'
check "the namespace ends, and its device's peer with it" '' "$ip netns del blue; until_true '! $ip link show v0 > /dev/null 2>&1'; $ip link show v0 2> /dev/null"
check "ss counts" '*TCP:*' "$ss -s"
check "ss of local and packet sockets" '*Netid*' "$ss -xa; $ss -0; $ss -an"
/net/nc -l -U /tmp/local > /dev/null 2>&1 &
until_true 'test -S /tmp/local'
check "ss of a local listener" '*u_str LISTEN *0 *5* /tmp/local *' "$ss -xl"
sleep 5 | /net/nc -U /tmp/local &
check "ss of both ends" '*u_str*ESTAB*/tmp/local*' "until_true '$ss -x | grep -q /tmp/local'; $ss -xp"
check "/proc/net/unix" 'Num       RefCount Protocol Flags    Type St Inode Path*/tmp/local*' 'cat /proc/net/unix'
exit $failures
GUEST
# shellcheck disable=SC2086
tools/qemu-run --kernel build/debug/ostrom.elf --cpus 2 --net --timeout 240 $list --add "$tmp/guest:/guest" -- sh /guest < /dev/null 2> "$tmp/log"
status=$?
[ $status = 0 ] || tail -20 "$tmp/log"
exit $status
