# Layer 8: /dev/pts.
uses := lib abi arch core alloc task mm vfs tty
