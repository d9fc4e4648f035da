# Layer 8: mediated devices: types and instances in sysfs. Knows no kind of device.
uses := lib abi arch core alloc task virt/vfio
