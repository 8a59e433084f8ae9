//! From an error to a line on stderr and an exit code. `args.rs` documents the codes.

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use tintype_client::{Code, ErrorReason};

use crate::commands::NoSuchUser;

pub(crate) const FAILED: u8 = 1;
pub(crate) const NOT_SIGNED_IN: u8 = 3;
pub(crate) const NOT_FOUND: u8 = 4;
pub(crate) const UNAVAILABLE: u8 = 5;
pub(crate) const OUTPUT_CLOSED: u8 = 141;

/// The reader of standard output has gone, as `head` does. Nothing to tell anybody.
#[derive(Debug)]
pub(crate) struct OutputClosed;

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the output")
    }
}

impl std::error::Error for OutputClosed {}

/// There is no token for the server.
#[derive(Debug)]
pub(crate) struct NotSignedIn;

impl fmt::Display for NotSignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not signed in: run `tintype login` first, or set TINTYPE_TOKEN")
    }
}

impl std::error::Error for NotSignedIn {}

/// Tells an error on stderr and gives the code that the process ends with.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    tell(error);
    ExitCode::from(code(error))
}

/// One line on stderr, with what can be done about it.
pub(crate) fn tell(error: &anyhow::Error) {
    if error.is::<OutputClosed>() {
        return;
    }
    let reason = error.downcast_ref::<tintype_client::Error>().and_then(tintype_client::Error::reason);
    let advice = match reason {
        Some(ErrorReason::TokenInvalid | ErrorReason::TokenMissing) => "; run `tintype login`",
        Some(ErrorReason::RenditionPending) => "; with --wait it is waited for",
        _ => "",
    };
    // Whether anybody reads it is no matter of what was done.
    let _ = writeln!(io::stderr(), "tintype: {}{advice}", sentence(error));
}

/// An error with its causes, each said once.
fn sentence(error: &anyhow::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    for cause in error.chain().map(ToString::to_string) {
        if !said.iter().any(|before| before.ends_with(&cause)) {
            said.push(cause);
        }
    }
    said.join(": ")
}

pub(crate) fn code(error: &anyhow::Error) -> u8 {
    if error.is::<OutputClosed>() {
        return OUTPUT_CLOSED;
    }
    if error.is::<NotSignedIn>() {
        return NOT_SIGNED_IN;
    }
    if error.is::<NoSuchUser>() {
        return NOT_FOUND;
    }
    match answer(error) {
        Some(Code::Unauthenticated | Code::PermissionDenied) => NOT_SIGNED_IN,
        Some(Code::NotFound) => NOT_FOUND,
        Some(Code::Unavailable) => UNAVAILABLE,
        _ => FAILED,
    }
}

/// Whether it makes no sense to go on with other things: what is not permitted is so for one of them, who is not signed in is so for all.
pub(crate) fn ends_all(error: &anyhow::Error) -> bool {
    match code(error) {
        OUTPUT_CLOSED | UNAVAILABLE => true,
        NOT_SIGNED_IN => answer(error) != Some(Code::PermissionDenied),
        _ => false,
    }
}

fn answer(error: &anyhow::Error) -> Option<Code> {
    error.downcast_ref::<tintype_client::Error>().and_then(tintype_client::Error::code)
}
