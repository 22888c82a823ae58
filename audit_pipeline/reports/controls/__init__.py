"""Controls: what frameworks ask of logging, as data, and which of our checks support each; ids and own words only."""
