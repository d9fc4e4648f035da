# Layer 8: the internet families: IPv4, IPv6, neighbours, routes, ICMP, UDP, raw sockets, TCP's sockets, set-up at boot.
uses := lib abi arch core alloc task mm vfs net net/tcp
pure := dhcp.c
