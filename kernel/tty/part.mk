# Layer 7: terminals: line discipline, serial port, ptys, job control.
uses := lib abi arch core alloc task mm vfs process
pure := n_tty.c
