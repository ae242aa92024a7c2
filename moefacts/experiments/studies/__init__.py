"""The studies: one module or package each, with its own figures. Modules with a leading underscore are helpers."""
