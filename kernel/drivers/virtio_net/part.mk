# Layer 8: virtio network devices.
uses := lib abi arch core alloc task device net drivers/virtio
