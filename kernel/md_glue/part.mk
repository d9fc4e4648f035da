# Layer 9: arrays as block devices: the cores of md over the block layer, and the files and ioctls that mdadm uses.
uses := lib abi arch core alloc task vfs block md
