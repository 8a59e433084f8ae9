use std::{ffi::OsStr, fs, path::PathBuf, process::ExitStatus, process::Stdio, sync::Arc, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

/// How long anything that a program is asked to do may take. Generous: it only bounds what has gone wrong.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running program whose output is kept. Killed when dropped; when the test has failed by then, its output is shown.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    lines: watch::Receiver<Vec<String>>,
}

impl Program {
    /// Starts one of the workspace's own binaries, built in the profile of the tests.
    pub fn own<E: AsRef<OsStr>>(name: &str, arguments: &[&str], environment: impl IntoIterator<Item = (E, E)>) -> Self {
        Self::start(name, own_binary(name), arguments, environment)
    }

    /// Starts a program. It gets no variables but these, so that nothing of the machine changes what is tested.
    pub fn start<E: AsRef<OsStr>>(
        name: &str,
        path: impl AsRef<OsStr>,
        arguments: &[&str],
        environment: impl IntoIterator<Item = (E, E)>,
    ) -> Self {
        let mut child = Command::new(path.as_ref())
            .args(arguments)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", path.as_ref().display()));
        let (sender, lines) = watch::channel(Vec::new());
        let sender = Arc::new(sender);
        keep_lines(child.stdout.take().expect("stdout is piped"), Arc::clone(&sender));
        keep_lines(child.stderr.take().expect("stderr is piped"), sender);
        Self { name: name.to_owned(), child, lines }
    }

    /// The part of the first line for which `found` returns one; waits until there is such a line. Panics when the program ends first.
    pub async fn line<T>(&mut self, found: impl Fn(&str) -> Option<T>) -> T {
        let waited = timeout(PATIENCE, self.lines.wait_for(|lines| lines.iter().any(|line| found(line).is_some()))).await;
        let lines = waited
            .unwrap_or_else(|_| panic!("{} did not say what was waited for", self.name))
            .unwrap_or_else(|_| panic!("{} ended before it said what was waited for", self.name));
        lines.iter().find_map(|line| found(line)).expect("there is such a line")
    }

    /// Returns when so many lines were such.
    pub async fn lines(&mut self, count: usize, is_such: impl Fn(&str) -> bool) {
        let waited = timeout(PATIENCE, self.lines.wait_for(|lines| lines.iter().filter(|line| is_such(line)).count() >= count)).await;
        let lines = waited.unwrap_or_else(|_| panic!("{} did not say {count} times what was waited for", self.name));
        lines.unwrap_or_else(|_| panic!("{} ended before it said what was waited for", self.name));
    }

    /// Everything it has said.
    pub fn output(&self) -> String {
        self.lines.borrow().join("\n")
    }

    /// Most memory that it ever had, in bytes.
    pub fn peak_memory_bytes(&self) -> u64 {
        self.memory_bytes("VmHWM:")
    }

    /// The memory that it has now, in bytes.
    pub fn current_memory_bytes(&self) -> u64 {
        self.memory_bytes("VmRSS:")
    }

    fn memory_bytes(&self, line_name: &str) -> u64 {
        let pid = self.pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running program has a status");
        let memory = status.lines().find_map(|line| line.strip_prefix(line_name)).expect("the kernel tells");
        let kilobytes: u64 = memory.trim().trim_end_matches(" kB").parse().expect("it is in kB");
        kilobytes << 10
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("a running program has descriptors").count()
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.pid())).expect("a running program has threads").count()
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.child.id().and_then(|pid| Pid::from_raw(pid as i32)).expect("it has not been waited for")
    }

    /// The processes that it has started and that still run.
    pub fn children(&self) -> Vec<Pid> {
        let pid = self.pid();
        let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a running program has threads");
        let lists = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
        let pids: Vec<_> =
            lists.flat_map(|list| list.split_whitespace().map(|pid| Pid::from_raw(pid.parse().ok()?)).collect::<Vec<_>>()).collect();
        pids.into_iter().flatten().collect()
    }

    /// Ends it at once, as a lost machine would, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a program can be killed");
    }

    /// Asks it to stop, with SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Lets it do nothing, not even end, until it is [resumed](Self::resume).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// A path as the program sees it, in its own mounts.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid()))
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a program can be signalled");
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("{} did not end", self.name)).expect("a child can be waited for")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- output of {}\n{}\n---", self.name, self.output());
        }
    }
}

/// Reads on to the end, so that the program never waits for a full pipe.
fn keep_lines(pipe: impl AsyncRead + Unpin + Send + 'static, sender: Arc<watch::Sender<Vec<String>>>) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            sender.send_modify(|lines| lines.push(line));
        }
    });
}

/// Where the workspace's own binary of that name is: beside this one, which is in `target/<profile>`, or in `deps` there if it is a test.
pub fn own_binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its own path");
    let folder = own.parent().expect("a program is in a folder");
    let path = if folder.ends_with("deps") { folder.with_file_name(name) } else { folder.join(name) };
    assert!(path.exists(), "{} is missing: cargo build --workspace --bins --tests", path.display());
    path
}
