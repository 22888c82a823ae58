"""Asset factories, one module a stage: thin functions that call a box and say what a person wants to see of it."""
