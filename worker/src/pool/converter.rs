//! The worker's side of one converter.

use std::{fs, io, os::unix::fs::FileExt, time::Duration};

use bytes::Bytes;
use tintype_store::{
    ConversionLimits, Failure, FailureReason, ImageHeader, Picture, Spec,
    header::{ACCEPTED_FORMATS, read_header},
};
use tokio::{
    io::Interest,
    net::UnixStream,
    time::{Instant, error::Elapsed, timeout, timeout_at},
};
use tracing::{debug, warn};

use super::{
    MAX_CONVERSION_TIMES, MAX_CONVERSIONS, MAX_IDLE_BYTES, Made, NoResult,
    channel::{self, receive_text, send_text, send_with},
    child::{Cause, Process},
    message::{Answer, Containment, Nonsense, Request, Terms},
    shared::{SealedMemory, SharedMemory},
    usual_time,
};

/// How long a converter may take to start on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// How much of a converter's last words is kept.
const MAX_LAST_WORDS_BYTES: usize = 1024;

/// One converter process. Killed when dropped.
#[derive(Debug)]
pub(super) struct Converter {
    channel: UnixStream,
    process: Process,
    /// What it writes to stderr.
    last_words: SharedMemory,
    conversions: u32,
    /// Whether it has stepped aside for others, from which there is no way back.
    is_aside: bool,
}

/// A picture, or why there is none; and the converter, if it lives and can be trusted as before.
type Outcome = (Result<Made, Failure>, Option<Converter>);

impl Converter {
    /// Starts a process and waits until it has shut itself in.
    pub(super) async fn start(limits: &ConversionLimits) -> io::Result<(Self, Containment)> {
        let (ours, theirs) = channel::pair()?;
        let last_words = SharedMemory::create()?;
        let process = Process::start(theirs, last_words.descriptor().try_clone_to_owned()?).await?;
        let converter = Self { channel: UnixStream::from_std(ours.into())?, process, last_words, conversions: 0, is_aside: false };
        send_text(&converter.channel, &Terms(limits.clone()).to_string())?;
        let answer = timeout(START_PATIENCE, converter.answer()).await;
        match answer {
            Ok(Ok(Some(Answer::Ready(containment)))) => Ok((converter, containment)),
            Ok(Ok(None) | Err(_)) => {
                let words = converter.words();
                let status = converter.process.end().await;
                let status = status.map_or_else(|| "it hung up".to_owned(), |status| status.to_string());
                Err(io::Error::other(format!("a converter did not start: {status}: {words}")))
            }
            Ok(Ok(Some(_))) => Err(io::Error::other("a converter did not start: it does not keep to the protocol")),
            Err(_) => Err(io::Error::other(format!("a converter did not start within {} s", START_PATIENCE.as_secs()))),
        }
    }

    /// Whether it lives and has said nothing unasked.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(receive_text(&self.channel), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether it has worked enough, kept too much memory, or said more than is read when it dies.
    pub(super) fn is_worn_out(&self, limits: &ConversionLimits) -> bool {
        let Some(Usage { cpu, resident_bytes }) = Usage::of(self.process.id()) else { return true };
        self.is_aside
            || self.conversions >= MAX_CONVERSIONS
            || resident_bytes > MAX_IDLE_BYTES
            || !self.last_words.size_bytes().is_ok_and(|size_bytes| size_bytes <= MAX_LAST_WORDS_BYTES as u64)
            || cpu > limits.timeout * MAX_CONVERSION_TIMES
    }

    /// Has it convert. An error means that the machine could not give what a conversion needs.
    pub(super) async fn convert(
        mut self,
        original: &SealedMemory,
        header: ImageHeader,
        spec: Spec,
        limits: &ConversionLimits,
    ) -> Result<Outcome, NoResult> {
        self.conversions += 1;
        let result = SharedMemory::create().map_err(NoResult::Machine)?;
        let asked = self.conversions;
        let request = Request { number: asked, header, spec }.to_string();
        let descriptors = [original.descriptor(), result.descriptor()];
        let answer = match send_with(&self.channel, &request, &descriptors) {
            Ok(()) => self.answer_in_time(usual_time(header, spec, limits.timeout), limits.timeout).await,
            // It died since it was last seen; its end says why.
            Err(error) => Ok(Err(error)),
        };
        Ok(match answer {
            Ok(Ok(Some(Answer::Made { number, size_bytes, picture, thumbhash }))) if number == asked => {
                match accept(result, size_bytes, picture, &spec) {
                    Ok(bytes) => (Ok(Made { bytes, picture, thumbhash }), Some(self)),
                    Err(why) => (Err(self.distrusted(why).await), None),
                }
            }
            Ok(Ok(Some(Answer::Refused { number, failure }))) if number == asked => (Err(failure), Some(self)),
            Ok(Ok(Some(_))) => (Err(self.distrusted("it answered something else than it was asked").await), None),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                (Err(self.distrusted("it does not keep to the protocol").await), None)
            }
            Ok(Ok(None) | Err(_)) => (Err(self.died(limits).await), None),
            Err(_) => {
                self.process.kill().await;
                (Err(timed_out(limits)), None)
            }
        })
    }

    /// The next answer, before the limit. One that takes longer than usual steps aside meanwhile.
    async fn answer_in_time(&mut self, usual: Duration, limit: Duration) -> Result<io::Result<Option<Answer>>, Elapsed> {
        let begun = Instant::now();
        if usual < limit {
            if let Ok(answer) = timeout(usual, self.answer()).await {
                return Ok(answer);
            }
            debug!(converter.id = self.process.id(), "a conversion takes longer than usual and steps aside");
            self.process.step_aside();
            self.is_aside = true;
        }
        timeout_at(begun + limit, self.answer()).await
    }

    /// The next answer. `None`: it hung up. `InvalidData`: it said something else.
    async fn answer(&self) -> io::Result<Option<Answer>> {
        loop {
            self.channel.readable().await?;
            match self.channel.try_io(Interest::READABLE, || receive_text(&self.channel)) {
                Ok(Some(text)) => return text.parse().map(Some).map_err(|Nonsense| io::ErrorKind::InvalidData.into()),
                Ok(None) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends a converter that no honest one would be.
    async fn distrusted(self, why: &str) -> Failure {
        warn!(converter.id = self.process.id(), last_words = self.words(), "a converter is not to be trusted: {why}");
        self.process.kill().await;
        Failure { reason: FailureReason::DecoderCrash, message: "the converter gave no proper answer".to_owned() }
    }

    /// What it means for the image that its converter is gone.
    async fn died(self, limits: &ConversionLimits) -> Failure {
        let (id, last_words) = (self.process.id(), self.last_words);
        let status = self.process.end().await;
        let words = words_in(&last_words);
        let ended = status.map_or_else(|| "it hung up".to_owned(), |status| status.to_string());
        warn!(converter.id = id, last_words = words, "a converter died: {ended}");
        let failed = |reason, message| Failure { reason, message };
        match Cause::of(status, &words) {
            Cause::Memory => {
                let message = format!("the conversion needs more memory than the limit of {} bytes", limits.memory_bytes);
                failed(FailureReason::ResourceLimit, message)
            }
            Cause::Ended => {
                failed(FailureReason::ResourceLimit, "the system ended the converter, as it does when memory runs out".to_owned())
            }
            Cause::Time => timed_out(limits),
            Cause::Crash => failed(FailureReason::DecoderCrash, format!("the converter crashed ({ended})")),
        }
    }

    fn words(&self) -> String {
        words_in(&self.last_words)
    }
}

/// What was written to stderr, on one line.
fn words_in(last_words: &SharedMemory) -> String {
    let mut bytes = [0; MAX_LAST_WORDS_BYTES];
    let size_bytes = last_words.file().read_at(&mut bytes, 0).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[..size_bytes]);
    text.chars().map(|character| if character.is_control() && character != '\n' { ' ' } else { character }).collect()
}

fn timed_out(limits: &ConversionLimits) -> Failure {
    let message = format!("the conversion took longer than the limit of {} s", limits.timeout.as_secs_f64());
    Failure { reason: FailureReason::DecoderTimeout, message }
}

/// The result, if it is what the converter says it is and what was asked for.
fn accept(result: SharedMemory, size_bytes: u64, picture: Picture, spec: &Spec) -> Result<Bytes, &'static str> {
    let sealed = result.seal().map_err(|error| {
        debug!("the result cannot be sealed: {error}");
        "the result cannot be sealed"
    })?;
    if sealed.size_bytes() as u64 != size_bytes {
        return Err("the result has another size");
    }
    let mapped = sealed.map().map_err(|_| "the result is empty")?;
    if ACCEPTED_FORMATS.contains(&spec.format) {
        let header = read_header(&mapped).map_err(|error| {
            debug!("the result cannot be read: {error}");
            "the result is no picture"
        })?;
        if (header.format, header.width, header.height, header.frame_count)
            != (spec.format, picture.width, picture.height, picture.frame_count)
        {
            return Err("the result is another picture");
        }
    }
    Ok(Bytes::from_owner(mapped))
}

/// What a process has used.
struct Usage {
    cpu: Duration,
    resident_bytes: u64,
}

impl Usage {
    /// `None` when it is gone, or the kernel does not tell.
    fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold anything; the third field follows it (proc(5)).
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let ticks = number(14)?.checked_add(number(15)?)?;
        let cpu = Duration::from_millis(ticks.checked_mul(1000)? / rustix::param::clock_ticks_per_second());
        Some(Self { cpu, resident_bytes: number(24)?.checked_mul(rustix::param::page_size() as u64)? })
    }
}
