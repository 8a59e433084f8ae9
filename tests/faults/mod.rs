//! Faults, and what clients were told about the time when they happened.
//!
//! The programs are those that are shipped: nothing in them is made for these tests. A moment is chosen on the wire between a program and the
//! service that it uses ([`Wire`](tintype_tests::Wire)), a clock by `libfaketime`, a full disk by a mount. What can be shown by one fault at a
//! chosen moment has a test of its own, here or where its subject is; [`mixed`] has faults come at any moment, by a seed, and [`soak`] for minutes.
//!
//! | fault | where |
//! | --- | --- |
//! | server killed in the middle of files | `restarts`, `resumed`, `s3`, [`mixed`] |
//! | … between the blob and its row, before and after the commit, in the middle of a download | [`killed`] |
//! | every sync before `done`, in its order | `durable` |
//! | worker killed before and after its claim, before and after its commit, before its ack | [`killed`] |
//! | worker killed while it converts; converters that are killed, hang or crash | `restarts`, `containment`, [`mixed`] |
//! | a hint that comes fifty times; a worker that sleeps through its leases | [`queue`] |
//! | queue killed, paused, wiped | `outages`, [`mixed`] |
//! | its stream or consumer deleted, its files removed, also while nobody tells it anything, its bounds or its disk too small | [`queue`], [`disk`] |
//! | catalog killed, paused | `outages`, [`mixed`] |
//! | … silent under load, left behind by its connections, statements that are never answered | [`silent`] |
//! | the answer of a commit lost | [`lost`], [`mixed`] |
//! | SQLite locked by another process | [`disk`] |
//! | the disk of the blobs full | `outages` |
//! | blobs removed, cut, flipped | `downloads`, `bulk`, `verify` |
//! | bucket gone, silent | `s3` |
//! | … answers 500 and 503, never, in part, slowly, or does what it is told and the answer is lost | [`bucket`], [`lost`] |
//! | clocks set back and forth by an hour | [`clock`] |
//! | deletions and shares among everything else, with answers lost | `shares`, `privacy`, [`mixed`] |
//! | services that are not there yet at the start | [`start`] |
//! | connections that break, in the middle of an upload | `resumed`, [`lane`] |
//!
//! [`secrets`] looks for passwords, tokens and keys in everything that programs say while services fail.

mod bucket;
mod clock;
mod disk;
mod killed;
mod lane;
mod ledger;
mod lost;
mod mixed;
mod queue;
mod secrets;
mod silent;
mod soak;
mod start;
