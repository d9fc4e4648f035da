# Layer 8: the ext4 file system. The layout is pure, over callbacks that read and write bytes of a device; mount.c, node.c,
# names.c, data.c and write.c tie it to the vfs and to block devices.
uses := lib abi arch core alloc task mm vfs block
pure := super.c cache.c csum.c inode.c extent.c dir.c hash.c journal.c xattr.c commit.c store.c balloc.c ialloc.c \
	extent_change.c indirect.c file.c dir_change.c dx_change.c namei.c xattr_change.c acl.c
