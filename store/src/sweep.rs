//! The one recovery path for everything that is stuck.
