//! The client against a small service of the same contract, over real connections.

mod calls;
mod direct;
mod downloads;
mod fake;
mod fake_sign_in;
mod lost_answers;
mod proxy;
mod uploads;
mod watches;
