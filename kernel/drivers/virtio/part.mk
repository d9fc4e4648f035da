# Layer 8: the virtio transport and its split rings, over PCI and over memory-mapped registers.
uses := lib abi arch core alloc task device
