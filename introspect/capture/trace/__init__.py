"""Which traces a step has, and how a step that does not exist yet is traced without leaving a mark."""
