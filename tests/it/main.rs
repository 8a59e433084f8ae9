//! What Tintype promises, shown on the real thing: every test starts its own programs on its own data.

mod access;
mod conversion;
mod corpus;
mod downloads;
mod events;
mod listing;
mod memory;
mod outages;
mod refusals;
mod restarts;
mod tools;
mod watches;
