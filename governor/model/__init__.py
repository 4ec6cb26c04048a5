"""Words of the design: frozen dataclasses, standard library only, no I/O."""
