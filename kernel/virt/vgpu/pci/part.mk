# Layer 8: virtual GPUs of virtual machines: virtio-gpu functions behind vfio, mediated.
uses := lib abi arch core alloc task mm virt/vfio virt/mdev virt/vgpu/core gpu
pure := virtq.c
