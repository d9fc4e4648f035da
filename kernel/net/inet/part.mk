# Layer 8: the internet families: IPv4, IPv6, UDP, TCP's sockets, loopback.
uses := lib abi arch core alloc task mm vfs net net/tcp
