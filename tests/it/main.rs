//! What Tintype promises, shown on the real thing: every test starts its own programs on its own data.

mod access;
mod account_commands;
mod admin;
mod command_line;
mod containment;
mod conversion;
mod corpus;
mod counted;
mod downloads;
mod edits;
mod events;
mod guessing;
mod listing;
mod memory;
mod outages;
mod quota;
mod refusals;
mod requested;
mod restarts;
mod s3;
mod sign_in;
mod tokens;
mod tools;
mod users;
mod watches;
