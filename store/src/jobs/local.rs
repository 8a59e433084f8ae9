//! The queue inside this process.
