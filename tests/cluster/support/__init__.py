"""A real cluster, the services outside it, and Lakegate's processes, for the tests of this directory."""
