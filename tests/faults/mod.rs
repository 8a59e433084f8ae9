//! Faults at chosen moments, with real programs and real services: nothing in the programs is made for them.
mod clock;
mod disk;
mod killed;
mod lane;
mod ledger;
mod lost;
mod mixed;
mod queue;
mod secrets;
mod soak;
mod start;
