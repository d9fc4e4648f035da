# Layer 1, second home: CPUs are host threads, memory is malloc. Never linked into ostrom.elf.
uses   := lib core alloc task mm vfs mm vfs
kernel := no
