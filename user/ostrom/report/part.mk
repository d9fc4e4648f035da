# report, script: samples with names. libtraceevent prints tracepoints by their own formats.
libs := libtraceevent
