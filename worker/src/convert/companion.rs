//! A second thread for each thread that converts, so that a conversion may do two things at once.
//!
//! It is kept for the next conversion: a converter can start no threads once it has shut itself in. What is made never depends on who makes
//! it, so without a companion, or while it is busy, the thread that converts does everything itself.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

/// What the companion works on, and one that waits, so that it is never without work.
const MAX_GIVEN: usize = 2;

thread_local! {
    /// Ends with this thread. `None` where none could be started.
    static COMPANION: Option<Companion> = Companion::start().ok();
}

type Job = Box<dyn FnOnce() + Send>;

struct Companion {
    jobs: Sender<Job>,
    /// Jobs that are not done yet. Only this thread adds to them.
    given: Arc<AtomicUsize>,
}

/// Work that is done, or that the companion does.
#[derive(Debug)]
pub(crate) enum Shared<T> {
    Done(T),
    Given(Receiver<thread::Result<T>>),
}

/// Lets this thread's companion do some work behind what it does already; the first call starts it. Without one, or when work waits for it
/// already, the work is done here and now.
pub(crate) fn share<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Shared<T> {
    COMPANION.with(|companion| match companion {
        Some(companion) if companion.given.load(Ordering::Acquire) < MAX_GIVEN => companion.give(work),
        _ => Shared::Done(work()),
    })
}

impl Companion {
    fn start() -> io::Result<Self> {
        let (jobs, given) = channel::<Job>();
        thread::Builder::new().name("tintype-convert".to_owned()).spawn(move || given.into_iter().for_each(|job| job()))?;
        Ok(Self { jobs, given: Arc::default() })
    }

    fn give<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Shared<T> {
        let (done, pending) = channel();
        let given = Arc::clone(&self.given);
        given.fetch_add(1, Ordering::AcqRel);
        let job = move || {
            let made = catch_unwind(AssertUnwindSafe(work));
            given.fetch_sub(1, Ordering::AcqRel);
            // Nobody may wait for it any more.
            let _ = done.send(made);
        };
        self.jobs.send(Box::new(job)).expect("it ends only when this sender does");
        Shared::Given(pending)
    }
}

impl<T> Shared<T> {
    /// What came of it. A panic goes on here.
    pub(crate) fn wait(self) -> T {
        match self {
            Self::Done(made) => made,
            Self::Given(pending) => match pending.recv().expect("a companion does all that it is given") {
                Ok(made) => made,
                Err(panic) => resume_unwind(panic),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pieces_of_work_are_for_one_other_thread_and_what_is_more_is_done_here() {
        let (release, held) = channel::<()>();
        let first = share(move || {
            held.recv().expect("it is released");
            thread::current().id()
        });
        let second = share(|| thread::current().id());
        assert_eq!(share(|| thread::current().id()).wait(), thread::current().id(), "one works, one waits");
        release.send(()).expect("it waits");
        let (first, second) = (first.wait(), second.wait());
        assert!(first == second && first != thread::current().id());
    }

    #[test]
    fn a_panic_goes_on_where_the_work_is_waited_for_and_the_companion_stays() {
        let failing = share(|| panic!("the work is bad"));
        assert!(matches!(failing, Shared::Given(_)));
        let panic = catch_unwind(AssertUnwindSafe(|| failing.wait())).expect_err("it panicked");
        assert_eq!(panic.downcast_ref(), Some(&"the work is bad"));
        assert_ne!(share(|| thread::current().id()).wait(), thread::current().id());
    }

    #[test]
    fn work_that_nobody_waits_for_is_done_all_the_same() {
        let (sender, receiver) = channel();
        drop(share(move || sender.send(1)));
        assert_eq!(receiver.recv(), Ok(1));
    }
}
