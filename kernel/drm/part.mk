# Layer 8: GPUs as programs know them: /dev/dri, Linux's DRM and virtgpu interfaces, over the clients of gpu.
uses := lib abi arch core alloc task mm device vfs process gpu virt/vgpu/core
