//! A bar on stderr, where there is a terminal.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tintype_client::UploadProgress;

const BYTES: &str = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg}";
const REDRAW_PERIOD: Duration = Duration::from_millis(200);

/// How far all files together are. Does nothing where stderr is not a terminal.
#[derive(Debug, Clone)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// For the files that will be sent.
    pub(crate) fn of_files(paths: &[PathBuf]) -> Bar {
        if !io::stderr().is_terminal() {
            return Bar(ProgressBar::hidden());
        }
        let sizes = paths.iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len());
        let bar = ProgressBar::new(sizes.sum());
        if let Ok(style) = ProgressStyle::with_template(BYTES) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(REDRAW_PERIOD);
        Bar(bar)
    }

    /// For what has no known end: only what is said.
    pub(crate) fn without_end() -> Bar {
        if !io::stderr().is_terminal() {
            return Bar(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(REDRAW_PERIOD);
        Bar(bar)
    }

    /// What one upload is to call: adds what it has sent since the last time.
    pub(crate) fn reporter(&self) -> impl Fn(UploadProgress) + Send + Sync + 'static {
        let bar = self.0.clone();
        let counted = Arc::new(AtomicU64::new(0));
        move |at| {
            // A repeated attempt begins at 0 again, and what it repeats is counted only once.
            let before = counted.fetch_max(at.sent_bytes, Ordering::Relaxed);
            bar.inc(at.sent_bytes.saturating_sub(before));
        }
    }

    pub(crate) fn say(&self, message: String) {
        self.0.set_message(message);
    }

    /// Prints without the bar in between.
    pub(crate) fn above<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
