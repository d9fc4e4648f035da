# Layer 0: data only. The tables from which dispatch, names, traces and docs are generated.
uses :=
