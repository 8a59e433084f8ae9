//! Warm converter processes, so that no picture can hurt the service.
//!
//! A converter is this program, started anew without its environment and shut in by limits, Landlock and seccomp (`sandbox.rs`) before it
//! sees a picture. Worker and converter share a socket for a line of text each way (`message.rs`) and two pieces of memory: the original,
//! sealed before it is shared, and the result, sealed before it is believed (`shared.rs`). No pixel passes through a pipe.
//!
//! A picture that crashes its converter, or holds it for too long, ends that process and its own job. The next job gets a new one. What
//! remains: a picture that takes its converter over, without a crash, could falsify what that process makes until it is replaced.

mod channel;
mod child;
mod converter;
mod message;
mod sandbox;
mod serve;
mod shared;
mod system;

use std::{
    env, io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tintype_store::{ConversionLimits, Failure, Format, ImageHeader, Picture, Spec, Thumbhash};
use tokio::signal::unix::{SignalKind, signal};

pub use message::Containment;
pub use serve::serve;
pub use shared::{SealedMemory, SharedMemory};

use converter::Converter;

/// The name, instead of a path, under which this program is started as a converter; `ps` shows it.
const CONVERTER_NAME: &str = "tintype-converter";

/// Conversions after which a converter is replaced.
const MAX_CONVERSIONS: u32 = 500;

/// CPU time after which a converter is replaced, in times of the limit of one conversion. A converter that is not replaced, because its
/// worker is stopped or lost, ends after one time more.
const MAX_CONVERSION_TIMES: u32 = 10;

/// What a conversion may take before it is suspect, for the start of it and for each million pixels: ten times what it usually takes, or more.
const USUAL_SECS: u64 = 1;

/// Memory of an idle converter beyond which it is replaced.
const MAX_IDLE_BYTES: u64 = 64 << 20;

/// Whether this process was started to convert: if so, [`serve`] is all that it may do.
pub fn is_converter() -> bool {
    env::args_os().next().is_some_and(|name| name == CONVERTER_NAME)
}

/// How long such a conversion takes at most, if nothing is wrong with it. Nobody can tell that of AVIF and of what is enlarged: the limit.
///
/// One that takes longer steps aside: its converter gets the priority of a background job and is not used again.
pub(crate) fn usual_time(header: ImageHeader, spec: Spec, limit: Duration) -> Duration {
    if [header.format, spec.format].contains(&Format::Avif) || spec.resize.is_some_and(|resize| resize.enlarge) {
        return limit;
    }
    let megapixels = u64::from(header.width) * u64::from(header.height) * u64::from(header.frame_count) / 1_000_000;
    Duration::from_secs(USUAL_SECS + USUAL_SECS * megapixels).min(limit)
}

/// Converters that are kept warm; as many as there are conversions at once. All end when it is dropped, and with the worker, however it ends.
#[derive(Debug)]
pub struct Pool {
    limits: ConversionLimits,
    containment: Containment,
    idle: Mutex<Vec<Converter>>,
}

/// What a converter made, as far as it can be checked.
#[derive(Debug)]
pub struct Made {
    /// The file, which nobody can change any more: a picture of the format that was asked for, by its header.
    pub bytes: Bytes,
    /// What is in it, as its header says, too.
    pub picture: Picture,
    /// What the original looks like, as the converter says.
    pub thumbhash: Thumbhash,
}

/// Why a pool has no result.
#[derive(Debug)]
pub enum NoResult {
    /// The converter says that it lies with the image, its spec or their limits.
    Failed(Failure),
    /// The converter was lost: it crashed, took too long, ran out of memory or gave no proper answer. That may have come from outside.
    Interrupted(Failure),
    /// It lies with this machine, which could not give what a conversion needs.
    Machine(io::Error),
}

impl Pool {
    /// Starts the first converter, which says what the kernel can do. Fails where no converter can be started.
    pub async fn start(limits: ConversionLimits) -> io::Result<Self> {
        // Whoever started this process may have had it ignore the ends of others, and then nobody would be told why one ended.
        drop(signal(SignalKind::child())?);
        let (first, containment) = Converter::start(&limits).await?;
        Ok(Self { limits, containment, idle: Mutex::new(vec![first]) })
    }

    /// What holds the converters.
    pub fn containment(&self) -> Containment {
        self.containment
    }

    /// Converts `original` in a process of its own.
    ///
    /// Crash, timeout and exhausted memory are failures with their reasons. When this is dropped the conversion is killed.
    pub async fn convert(&self, original: &SealedMemory, header: ImageHeader, spec: Spec) -> Result<Made, NoResult> {
        let converter = match self.idle_one() {
            Some(converter) => converter,
            None => Converter::start(&self.limits).await.map_err(NoResult::Machine)?.0,
        };
        let (result, converter) = converter.convert(original, header, spec, &self.limits).await?;
        let lives = converter.is_some();
        if let Some(converter) = converter.filter(|converter| !converter.is_worn_out(&self.limits)) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(converter);
        }
        result.map_err(|failure| if lives { NoResult::Failed(failure) } else { NoResult::Interrupted(failure) })
    }

    /// The one that was used last, whose memory is warmest.
    fn idle_one(&self) -> Option<Converter> {
        loop {
            let converter = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if converter.is_quiet() {
                return Some(converter);
            }
        }
    }
}
