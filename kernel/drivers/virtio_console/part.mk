# Layer 8: virtio consoles as terminals.
uses := lib abi arch core alloc task vfs device tty drivers/virtio
