# Layer 8: devices that programs drive themselves, through Linux's VFIO interface. The drivers bring the devices.
uses := lib abi arch core alloc task mm vfs device
pure := vpci.c
