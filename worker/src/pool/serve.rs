//! The converter's side: a process that makes one picture after the other, with one thread and its companion.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use tintype_store::{ConversionLimits, Failure, ImageHeader, Spec};

use super::{
    channel::{receive_text, receive_with, send_text},
    message::{Answer, Request, Terms, readable},
    sandbox,
    shared::{SealedMemory, SharedMemory},
};
use crate::convert::{ConvertError, Converted};

/// Shuts the process in and converts what the worker at the other end of stdin sends, until it sends no more.
///
/// Only for a process that a [`Pool`](super::Pool) has started, see [`is_converter`](super::is_converter), before it starts threads or
/// opens anything. What went wrong is in the exit code and, if it is worth a word, on stderr; the worker reads both.
pub fn serve(engine: impl Fn(&[u8], &ImageHeader, &Spec, &ConversionLimits) -> Result<Converted, ConvertError>) -> ExitCode {
    match serve_until_end(engine) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve_until_end(engine: impl Fn(&[u8], &ImageHeader, &Spec, &ConversionLimits) -> Result<Converted, ConvertError>) -> io::Result<()> {
    tintype_process::bound_heaps();
    let worker = io::stdin();
    let Some(terms) = receive_text(&worker)? else { return Ok(()) };
    let Terms(limits) = terms.parse().map_err(|_| nonsense())?;
    let containment = sandbox::enter(&limits)?;
    send_text(&worker, &Answer::Ready(containment).to_string())?;
    while let Some((request, descriptors)) = receive_with(&worker)? {
        let Request { number, header, spec } = request.parse().map_err(|_| nonsense())?;
        let [original, place] = descriptors.try_into().map_err(|_| nonsense())?;
        let original = SealedMemory::received(original)?.map()?;
        let answer = match engine(&original, &header, &spec, &limits) {
            Ok(Converted { bytes, picture, thumbhash }) => {
                SharedMemory::received(place).write_all(&bytes)?;
                Answer::Made { number, size_bytes: bytes.len() as u64, picture, thumbhash }
            }
            Err(ConvertError { reason, message }) => Answer::Refused { number, failure: readable(&Failure { reason, message }) },
        };
        drop(original);
        send_text(&worker, &answer.to_string())?;
    }
    Ok(())
}

fn nonsense() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the worker does not keep to the protocol")
}
