# Layer 3: pages, slab, kernel maps.
uses := lib abi arch core
pure := buddy.c
