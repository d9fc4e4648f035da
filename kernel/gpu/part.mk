# Layer 7: one GPU for processes, control groups and virtual machines: devices, clients, the queue of their jobs. Back ends
# (drivers/*) and front ends (drm, virt/vgpu) stand on it. The core below it is pure and low.
uses := lib abi arch core alloc task cgroup virt/vgpu/core
pure := queue.c
