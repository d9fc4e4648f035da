# Layer 8: AF_PACKET: sockets that see and send frames.
uses := lib abi arch core alloc task mm vfs net
