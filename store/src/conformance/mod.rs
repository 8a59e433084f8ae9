//! One list of cases per port, run against every adapter.
