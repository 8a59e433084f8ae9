//! Who converts: Tintype as a worker does it, and the peers. Each is told the same and answers how long it took.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use nix::{
    sys::resource::{Usage, UsageWho, getrusage},
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use serde_json::{Value, json};
use tintype_store::{ConversionLimits, ImageLimits, header::read_header};
use tintype_worker::pool::{Pool, SharedMemory};
use tokio::runtime::Handle;

use super::tasks::Task;

/// A picture as a file, in memory and on disk.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) bytes: Bytes,
    pub(super) path: PathBuf,
}

/// One conversion.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) wall: Duration,
    /// CPU time of all threads and processes that took part.
    pub(super) cpu: Duration,
    pub(super) bytes: Vec<u8>,
}

/// Somebody who converts.
pub(super) trait Contestant {
    /// What it is called in the table.
    fn name(&self) -> &'static str;
    /// Converts. `None` when this is nothing that it does.
    fn convert(&mut self, task: Task, input: &Input) -> anyhow::Result<Option<Measured>>;
}

/// A worker's converters: processes in their sandbox, kept warm.
#[derive(Debug)]
pub(super) struct Tintype {
    runtime: Handle,
    pool: Pool,
}

impl Tintype {
    pub(super) fn start(runtime: Handle) -> anyhow::Result<Self> {
        let pool = runtime.block_on(Pool::start(limits()))?;
        Ok(Self { runtime, pool })
    }

    /// The most memory that a converter of its own needs for one conversion, without the input and the result, which are shared with the worker.
    pub(super) fn peak_memory_bytes(&mut self, task: Task, input: &Input) -> anyhow::Result<u64> {
        let mut fresh = Self::start(self.runtime.clone())?;
        let before = children()?;
        let converter = before.last().context("a pool has a converter")?;
        let result = fresh.convert(task, input)?.context("Tintype does all of it")?;
        let status = fs::read_to_string(format!("/proc/{converter}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel tells the peak")?;
        let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse()?;
        Ok((kilobytes << 10).saturating_sub((input.bytes.len() + result.bytes.len()) as u64))
    }
}

impl Contestant for Tintype {
    fn name(&self) -> &'static str {
        "Tintype"
    }

    fn convert(&mut self, task: Task, input: &Input) -> anyhow::Result<Option<Measured>> {
        let spec = task.spec();
        let cpu_before = own_cpu()?;
        let begin = Instant::now();
        let header = read_header(&input.bytes).context("a picture that the bench made")?;
        let mut memory = SharedMemory::create()?;
        memory.write_all(&input.bytes)?;
        let original = memory.seal()?;
        let made = self.runtime.block_on(self.pool.convert(&original, header, spec));
        let wall = begin.elapsed();
        let made = made.map_err(|error| anyhow::anyhow!("{task:?}: {error:?}"))?;
        Ok(Some(Measured { wall, cpu: own_cpu()?.saturating_sub(cpu_before), bytes: made.bytes.to_vec() }))
    }
}

/// libvips through sharp, in a Node.js process of its own that stays.
#[derive(Debug)]
pub(super) struct Sharp {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    output: PathBuf,
}

impl Sharp {
    pub(super) fn start(peers: &Path, folder: &Path) -> anyhow::Result<Self> {
        let script = peers.join("sharp.mjs");
        let mut child = Command::new("node")
            .arg(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start node {}", script.display()))?;
        let questions = child.stdin.take().context("stdin is piped")?;
        let answers = BufReader::new(child.stdout.take().context("stdout is piped")?);
        Ok(Self { child, questions, answers, output: folder.join("sharp") })
    }
}

impl Contestant for Sharp {
    fn name(&self) -> &'static str {
        "sharp"
    }

    fn convert(&mut self, task: Task, input: &Input) -> anyhow::Result<Option<Measured>> {
        let what = task.sharp();
        writeln!(self.questions, "{}", json!({ "input": input.path, "output": self.output, "what": what }))?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).context("sharp did not answer")?;
        let time = |name: &str| Ok::<_, anyhow::Error>(Duration::from_secs_f64(answer[name].as_f64().context("sharp tells times")? / 1e3));
        Ok(Some(Measured { wall: time("wall_ms")?, cpu: time("cpu_ms")?, bytes: fs::read(&self.output)? }))
    }
}

impl Drop for Sharp {
    fn drop(&mut self) {
        // It ends with its input; nothing is lost by not waiting for that.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A command that reads a file and writes one, started for each conversion.
#[derive(Debug)]
pub(super) struct CommandLine {
    name: &'static str,
    program: PathBuf,
    arguments: fn(Task, &str, &str) -> Option<Vec<String>>,
    folder: PathBuf,
}

impl CommandLine {
    /// ImageMagick as Debian has it.
    pub(super) fn image_magick(folder: &Path) -> Self {
        Self { name: "ImageMagick", program: "convert-im6.q16".into(), arguments: Task::image_magick, folder: folder.to_owned() }
    }

    /// oximg from the folder of peers.
    pub(super) fn oximg(peers: &Path, folder: &Path) -> Self {
        Self { name: "oximg", program: peers.join("bin/oximg"), arguments: Task::oximg, folder: folder.to_owned() }
    }
}

impl Contestant for CommandLine {
    fn name(&self) -> &'static str {
        self.name
    }

    fn convert(&mut self, task: Task, input: &Input) -> anyhow::Result<Option<Measured>> {
        let output = self.folder.join(format!("{}.{}", self.name, task.output_extension()));
        let Some(arguments) = (self.arguments)(task, &input.path.display().to_string(), &output.display().to_string()) else {
            return Ok(None);
        };
        let cpu_before = cpu_of_ended_children()?;
        let begin = Instant::now();
        let ended = Command::new(&self.program).args(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).output();
        let ended = ended.with_context(|| format!("cannot start {}", self.program.display()))?;
        let wall = begin.elapsed();
        anyhow::ensure!(ended.status.success(), "{} {arguments:?}: {}", self.name, String::from_utf8_lossy(&ended.stderr));
        let cpu = cpu_of_ended_children()?.saturating_sub(cpu_before);
        Ok(Some(Measured { wall, cpu, bytes: fs::read(&output)? }))
    }
}

/// Those of the service, but for the size of a file: large pictures without compression are inputs here, too.
pub(super) fn limits() -> ConversionLimits {
    let limits = ConversionLimits::default();
    ConversionLimits { image: ImageLimits { max_file_bytes: u64::MAX, ..limits.image }, ..limits }
}

/// CPU time of this process and of the converters that it has started.
fn own_cpu() -> anyhow::Result<Duration> {
    let mut sum: Duration = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into();
    for pid in children()? {
        // One may have ended since.
        if let Ok(clock) = clock_getcpuclockid(Pid::from_raw(pid)) {
            sum += Duration::from(clock_gettime(clock)?);
        }
    }
    Ok(sum)
}

/// Every converter that this process has started, oldest first; sharp's process is not one.
fn children() -> anyhow::Result<Vec<i32>> {
    let own = env::current_exe()?;
    let mut pids = Vec::new();
    for thread in fs::read_dir("/proc/self/task")? {
        let list = fs::read_to_string(thread?.path().join("children"))?;
        let all = list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
        pids.extend(all.filter(|pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program == own)));
    }
    pids.sort_unstable();
    Ok(pids)
}

fn cpu_of_ended_children() -> anyhow::Result<Duration> {
    let usage: Usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let sum = [usage.user_time(), usage.system_time()];
    Ok(sum.iter().map(|time| Duration::from_micros(time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64)).sum())
}
