# Layer 8: AF_NETLINK: routes, addresses, devices, neighbours (rtnetlink), sockets (sock_diag).
uses := lib abi arch core alloc task mm vfs process net net/inet net/tcp net/unix
