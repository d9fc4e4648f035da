# Layer 8: what one GPU's sharing needs without a GPU: parsers of the command streams, tables of ids, memory charges, the
# scheduler.
uses := abi lib alloc core
pure := *
