//! What Tintype promises, shown on the real thing: every test starts its own programs on its own data.

mod access;
mod command_line;
mod conversion;
mod corpus;
mod downloads;
mod listing;
mod memory;
mod outages;
mod refusals;
mod restarts;
mod s3;
mod tools;
