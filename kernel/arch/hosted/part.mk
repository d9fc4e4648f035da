# Layer 1, second home: CPUs are host threads, memory is malloc. Never linked into ostrom.elf. It also stands in for the few
# services of mm and vfs that pure parts above it need.
uses   := lib core alloc task mm vfs
kernel := no
