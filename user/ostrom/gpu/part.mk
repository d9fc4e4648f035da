libs := libseccomp
