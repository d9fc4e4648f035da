# Layer 8: cache allocation. Groups and files over a back end: CAT's registers or page colours.
uses := lib core alloc
pure := core.c text.c schemata.c files.c cat.c colour.c
