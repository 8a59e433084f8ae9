//! A converter as a process: how it is started, ended and what its end means.

use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, setpriority_pgrp, waitid},
};
use tokio::{sync::oneshot, time::timeout};

use super::CONVERTER_NAME;

/// The program that runs, also when its file was replaced or removed meanwhile.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// How long a process that hung up may take to end by itself; the memory of a large one takes its time.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// The priority of background jobs (nice(1)): about a tenth of what others get, when they want it.
const ASIDE_PRIORITY: i32 = 10;

/// A running process. Killed with its group when dropped.
#[derive(Debug)]
pub(super) struct Process {
    shared: Arc<Shared>,
    ended: oneshot::Receiver<ExitStatus>,
}

/// What the thread of a process knows as well.
#[derive(Debug)]
struct Shared {
    pid: Pid,
    /// Whether the number may belong to another process by now.
    reaped: Mutex<bool>,
}

impl Process {
    /// Starts this program as a converter with this stdin and stderr, without environment, in a group of its own.
    ///
    /// Each has a thread of the worker that does nothing but wait for it: the kernel ends a child when the thread that started it ends, not
    /// only the process.
    pub(super) async fn start(stdin: OwnedFd, stderr: OwnedFd) -> io::Result<Self> {
        let mut command = Command::new(Path::new(THIS_PROGRAM));
        command.arg0(CONVERTER_NAME).env_clear().current_dir("/").process_group(0);
        command.stdin(stdin).stdout(Stdio::null()).stderr(stderr);
        let (start, started) = oneshot::channel();
        thread::Builder::new().name("converter".to_owned()).spawn(move || {
            let spawned = command.spawn();
            // It holds the converter's end of the channel, which must end with the converter.
            drop(command);
            match spawned.and_then(Self::of) {
                Ok((process, child, end)) => {
                    let shared = Arc::clone(&process.shared);
                    // Nobody waits for it any more: dropped, it is killed.
                    let _ = start.send(Ok(process));
                    shared.keep(child, end);
                }
                Err(error) => drop(start.send(Err(error))),
            }
        })?;
        started.await.map_err(|_| io::Error::other("the thread of a converter ended"))?
    }

    fn of(child: Child) -> io::Result<(Self, Child, oneshot::Sender<ExitStatus>)> {
        let pid = Pid::from_raw(child.id() as i32).ok_or_else(|| io::Error::other("a process has number 0"))?;
        let (end, ended) = oneshot::channel();
        Ok((Self { shared: Arc::new(Shared { pid, reaped: Mutex::new(false) }), ended }, child, end))
    }

    /// Its number, for what the kernel tells of it.
    pub(super) fn id(&self) -> i32 {
        self.shared.pid.as_raw_nonzero().get()
    }

    /// Lets everything else on this machine go first, for good.
    pub(super) fn step_aside(&self) {
        let reaped = self.shared.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            // All threads of the group; it fails only for one that has ended.
            let _ = setpriority_pgrp(Some(self.shared.pid), ASIDE_PRIORITY);
        }
    }

    /// Ends it at once and waits until its memory is free.
    pub(super) async fn kill(mut self) {
        self.shared.kill();
        // The thread answers, or is gone with everything.
        let _ = (&mut self.ended).await;
    }

    /// How it ended, once it hung up. `None`: it did not end by itself, and was killed.
    pub(super) async fn end(mut self) -> Option<ExitStatus> {
        let ended = timeout(END_PATIENCE, &mut self.ended).await;
        if ended.is_err() {
            self.kill().await;
        }
        ended.ok()?.ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.shared.kill();
    }
}

impl Shared {
    fn kill(&self) {
        let reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            // It fails only for a group that has ended.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }

    /// Waits for the end and tells of it. As long as the number is not given back, it is certain whom a signal reaches.
    fn keep(&self, mut child: Child, end: oneshot::Sender<ExitStatus>) {
        let is_over = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(self.pid), is_over), Err(Errno::INTR)) {}
        let mut reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        let status = child.wait();
        *reaped = true;
        drop(reaped);
        if let Ok(status) = status {
            // Nobody asks after one that was dropped.
            let _ = end.send(status);
        }
    }
}

/// Why a process ended that nobody had asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It wanted more memory than it may have, or wrote more.
    Memory,
    /// The system ended it from outside, as it does when memory runs out.
    Ended,
    /// It used up its CPU time.
    Time,
    /// Anything else.
    Crash,
}

impl Cause {
    /// Tells the cause from the exit status and the last words on stderr.
    pub(super) fn of(status: Option<ExitStatus>, last_words: &str) -> Self {
        /// How Rust's standard library begins its last words when memory is refused.
        const MEMORY_REFUSED: &str = "memory allocation of ";
        match status.and_then(|status| status.signal()) {
            Some(libc::SIGKILL) => Self::Ended,
            Some(libc::SIGXCPU) => Self::Time,
            Some(libc::SIGXFSZ) => Self::Memory,
            Some(libc::SIGABRT) if last_words.lines().any(|line| line.starts_with(MEMORY_REFUSED)) => Self::Memory,
            _ => Self::Crash,
        }
    }
}
