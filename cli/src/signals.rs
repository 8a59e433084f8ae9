//! Being told to stop: what is under way is dropped, and its temporary files with it.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

/// Returns when the process is asked to end, with the code that shells expect: 128 and the signal's number.
pub(crate) async fn stop() -> ExitCode {
    tokio::select! {
        code = received(SignalKind::interrupt()) => code,
        code = received(SignalKind::terminate()) => code,
    }
}

async fn received(kind: SignalKind) -> ExitCode {
    match signal(kind) {
        Ok(mut stream) => {
            stream.recv().await;
            ExitCode::from(128 + kind.as_raw_value() as u8)
        }
        // Then the signal keeps its usual effect.
        Err(_) => std::future::pending().await,
    }
}
