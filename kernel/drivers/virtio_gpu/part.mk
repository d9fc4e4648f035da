# Layer 8: the GPU of QEMU: 2D always, 3D by virgl where it is offered.
uses := lib abi arch core alloc task device drivers/virtio gpu virt/vgpu/core
