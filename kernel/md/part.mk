# Layer 8: RAID. Formats, geometry, the stripe engine and its journal are pure; the kernel's glue will not be.
uses := lib arch alloc core
pure := *
