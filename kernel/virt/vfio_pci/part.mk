# Layer 8: whole PCI functions as VFIO devices.
uses := lib abi arch core alloc task device virt/vfio
pure := config.c
