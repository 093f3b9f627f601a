"""The stages of the workflow, one module each: open the inputs, call the library, write the outputs."""
