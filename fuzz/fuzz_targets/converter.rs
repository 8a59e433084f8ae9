//! What a worker and its converter tell each other, whichever of the two is hostile: never a panic, what is read is read the same again when it
//! is written, and it fits into a message.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The file itself: nobody outside the pool has anything to do with its messages.
#[path = "../../worker/src/pool/message.rs"]
#[expect(dead_code, reason = "what the pool does with messages is not needed to read and write them")]
mod message;

use message::{Answer, Request, Terms};

/// What the channel between them takes.
const MAX_MESSAGE_BYTES: usize = 4096;

fuzz_target!(|text: &str| {
    if text.len() > MAX_MESSAGE_BYTES {
        return;
    }
    if let Ok(Terms(limits)) = text.parse() {
        let written = written(&Terms(limits.clone()));
        assert_eq!(written.parse().map(|Terms(read)| read), Ok(limits));
    }
    if let Ok(request) = text.parse::<Request>() {
        let told = written(&request);
        // What is said of a spec leaves out what goes without saying.
        let read = told.parse::<Request>().expect("it was written by itself");
        assert_eq!((read.number, read.header, written(&read)), (request.number, request.header, told));
    }
    if let Ok(answer) = text.parse::<Answer>() {
        assert_eq!(written(&answer).parse(), Ok(answer));
    }
});

fn written(message: &impl ToString) -> String {
    let text = message.to_string();
    assert!(text.len() <= MAX_MESSAGE_BYTES, "{} bytes are too long", text.len());
    text
}
