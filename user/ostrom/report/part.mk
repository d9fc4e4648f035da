# report, script: samples with names. libtraceevent prints tracepoints by their own formats, libiberty reads C++'s names.
libs := libtraceevent
ldlibs := -liberty
