# Layer 8: the internet family: IPv4, UDP, loopback. TCP and IPv6 join here.
uses := lib abi arch core alloc task mm vfs net
