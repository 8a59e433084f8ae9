//! What Tintype promises, shown on the real thing: every test starts its own programs on its own data.

mod access;
mod account_commands;
mod command_line;
mod conversion;
mod corpus;
mod downloads;
mod events;
mod listing;
mod memory;
mod outages;
mod privacy;
mod quota;
mod refusals;
mod restarts;
mod s3;
mod shares;
mod sign_in;
mod tokens;
mod tools;
mod users;
mod watches;
