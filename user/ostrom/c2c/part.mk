# Contended cache lines. Zydis has no pkg-config file in Debian 12.
ldlibs := -lZydis -lncurses -ltinfo
