# Layer 8: virtio block devices.
uses := lib abi arch core alloc task device block drivers/virtio
