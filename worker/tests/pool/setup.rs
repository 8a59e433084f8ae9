//! What the trials have in common.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use tintype_store::{ConversionLimits, Failure, FailureReason, Format, ImageHeader, Picture, Spec};
use tintype_worker::{
    Converters, Sandbox, WorkerConfig,
    pool::{NoResult, Pool, SealedMemory, SharedMemory},
};

/// A name and what it shows.
pub(crate) type NamedTrial = (&'static str, fn());

/// Long enough for whatever works, so that only what hangs gets there.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Pixels a side of a picture that may well take all of that time. A converter that takes longer than is usual for its picture is not used
/// again.
const LARGE_SIDE: u32 = 10_000;

/// A pool and a runtime of its own.
pub(crate) struct Bench {
    runtime: tokio::runtime::Runtime,
    pub(crate) pool: Pool,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(ConversionLimits { timeout: PATIENCE, ..ConversionLimits::default() })
    }

    pub(crate) fn with(limits: ConversionLimits) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let pool = runtime.block_on(Pool::start(limits)).expect("converters start here");
        Self { runtime, pool }
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Converts a poison into a PNG.
    pub(crate) fn convert(&self, poison: &str) -> Result<(Vec<u8>, Picture), Failure> {
        self.block_on(converted(&self.pool, poison))
    }

    /// How the conversion of a poison fails.
    pub(crate) fn failure(&self, poison: &str) -> Failure {
        self.convert(poison).expect_err("a poison is no picture")
    }

    /// What a poison has found out, however long it took.
    pub(crate) fn report(&self, poison: &str) -> String {
        let reported = self.block_on(converted_from(&self.pool, poison, LARGE_SIDE));
        let Failure { reason, message } = reported.expect_err("a poison is no picture");
        assert_eq!(reason, FailureReason::UnsupportedInput, "{poison} reports, but: {message}");
        message
    }

    /// The process that converts next, as long as one is idle.
    pub(crate) fn converter(&self) -> Pid {
        Pid::from_raw(self.report("pid").parse().expect("a number")).expect("not 0")
    }
}

/// The result of a poison as a PNG.
pub(crate) async fn converted(pool: &Pool, poison: &str) -> Result<(Vec<u8>, Picture), Failure> {
    converted_from(pool, poison, 1).await
}

/// The same of one that passes for a picture of so many pixels a side.
async fn converted_from(pool: &Pool, poison: &str, side: u32) -> Result<(Vec<u8>, Picture), Failure> {
    let header = ImageHeader { format: Format::Png, width: side, height: side, frame_count: 1 };
    match pool.convert(&sealed(poison.as_bytes()), header, Spec::new(Format::Png)).await {
        Ok(made) => Ok((made.bytes.to_vec(), made.picture)),
        Err(NoResult::Failed(failure) | NoResult::Interrupted(failure)) => Err(failure),
        Err(NoResult::Machine(error)) => panic!("this machine has room: {error}"),
    }
}

/// The bytes as a worker passes them on.
pub(crate) fn sealed(bytes: &[u8]) -> SealedMemory {
    let mut memory = SharedMemory::create().expect("there is memory");
    memory.write_all(bytes).expect("there is memory");
    memory.seal().expect("nobody else has it")
}

/// A process that can be waited for, though it is not a child of this one.
pub(crate) struct Watched(rustix::fd::OwnedFd);

impl Watched {
    pub(crate) fn new(pid: Pid) -> Self {
        Self(pidfd_open(pid, PidfdFlags::empty()).expect("the process is there"))
    }

    /// Returns when it has ended.
    pub(crate) fn wait(&self) {
        let patience = PATIENCE.try_into().expect("it is short");
        let ready = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&patience)).expect("a process can be waited for");
        assert_eq!(ready, 1, "the process still runs");
    }
}

/// Starts this program, or a copy of it, in one of its parts.
pub(crate) fn start(program: &Path, part: &str) -> Child {
    Command::new(program).arg(part).stdout(Stdio::piped()).spawn().expect("this program starts")
}

/// All that the program does in one of its parts.
type Part = fn() -> ExitCode;

/// What the program does instead of testing, by its first argument.
pub(crate) const PARTS: [(&str, Part); 3] = [
    ("hanging-worker", hanging_worker),
    ("worker-without-file", worker_without_file),
    ("worker-on-an-old-kernel", worker_on_an_old_kernel),
];

/// A worker whose converter hangs. Prints the converter's number and stays until it is ended.
fn hanging_worker() -> ExitCode {
    let bench = Bench::new();
    let converter = bench.converter();
    bench.block_on(async {
        let mut hanging = Box::pin(converted(&bench.pool, "hang"));
        // The first poll sends the request, so the line comes when the converter has work.
        assert!(futures_util::poll!(&mut hanging).is_pending());
        println!("{}", converter.as_raw_nonzero());
        let failure = hanging.await.expect_err("it hangs");
        panic!("nobody ended this worker: {failure:?}")
    })
}

/// A worker whose program was removed before it starts its converters.
fn worker_without_file() -> ExitCode {
    fs::remove_file(env::current_exe().expect("a test knows its own path")).expect("it is there");
    let bench = Bench::new();
    bench.failure("crash");
    ExitCode::from(u8::from(bench.convert("pixel").is_err()))
}

/// A worker on a kernel without Landlock. Prints what each mode makes of it.
fn worker_on_an_old_kernel() -> ExitCode {
    let unknown = BTreeMap::from([(libc::SYS_landlock_create_ruleset, Vec::new())]);
    let architecture = env::consts::ARCH.try_into().expect("seccomp knows it");
    let filter = SeccompFilter::new(unknown, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32), architecture);
    let filter: BpfProgram = filter.and_then(TryInto::try_into).expect("it is a filter");
    seccompiler::apply_filter(&filter).expect("seccomp is there");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    for sandbox in [Sandbox::Auto, Sandbox::Require] {
        let config = WorkerConfig { sandbox, ..WorkerConfig::default() };
        match runtime.block_on(Converters::start(&config)) {
            Ok(converters) => println!("{}", converters.sandbox()),
            Err(error) => println!("{error}"),
        }
    }
    ExitCode::SUCCESS
}
