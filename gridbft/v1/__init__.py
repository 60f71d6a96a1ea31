"""The wire contract: code generated from proto/gridbft/v1 (run proto/generate.sh after a change there)."""
