# Layer 8: the ext4 file system. The layout is pure, over callbacks that read and write bytes of a device.
uses := lib core alloc
pure := super.c cache.c csum.c inode.c extent.c dir.c hash.c journal.c xattr.c commit.c setattr.c
