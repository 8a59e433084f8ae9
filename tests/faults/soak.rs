//! Minutes of everything at once: what goes on without an end must not grow.

use std::time::{Duration, Instant};

use tintype_tests::{Program, Tintype, number, seed};

use super::mixed::{AROUND_A_SERVER, End, Run, wired_cluster};

/// What a process may have more at the end than at the start: buffers of what is under way at one moment and not at the other.
const MEMORY_MARGIN_BYTES: u64 = 48 << 20;
const DESCRIPTOR_MARGIN: usize = 40;
const THREAD_MARGIN: usize = 16;

/// What a program holds at a moment.
#[derive(Debug, Clone, Copy)]
struct Held {
    memory_bytes: u64,
    descriptors: usize,
    threads: usize,
}

impl Held {
    fn by(program: &Program) -> Self {
        Self { memory_bytes: program.current_memory_bytes(), descriptors: program.descriptors(), threads: program.threads() }
    }

    fn print(self, name: &str, when: &str) {
        let Self { memory_bytes, descriptors, threads } = self;
        println!("{name} {when}: {} MiB, {descriptors} descriptors, {threads} threads", memory_bytes >> 20);
    }

    fn is_flat(self, end: Self) -> bool {
        end.memory_bytes <= self.memory_bytes + MEMORY_MARGIN_BYTES
            && end.descriptors <= self.descriptors + DESCRIPTOR_MARGIN
            && end.threads <= self.threads + THREAD_MARGIN
    }
}

/// The server and the worker that are not killed.
fn held(tintype: &Tintype) -> [(&'static str, Held); 2] {
    [("server", Held::by(tintype.server.as_ref().expect("it runs"))), ("worker", Held::by(&tintype.workers[0]))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_programs_hold_does_not_grow() {
    let minutes = number("TINTYPE_TEST_SOAK_MINUTES", 0);
    if minutes == 0 {
        println!("skipped: TINTYPE_TEST_SOAK_MINUTES says how long; scripts/test --faults sets it");
        return;
    }
    let whole = Duration::from_mins(minutes as u64);
    let (tintype, wire) = wired_cluster(2).await;
    let begin = Instant::now();
    let (mut run, lanes) = Run::begin(tintype, wire, seed(), End::At(begin + whole)).await;
    let mut measured = Vec::new();
    // A fifth of the time until pools, caches and heaps are as large as they become.
    for (when, at) in [("at the start", whole / 5), ("in the middle", whole * 3 / 5), ("at the end", whole)] {
        // Whoever is measured is not killed: of the workers it is the second one.
        run.suffer(&AROUND_A_SERVER, Some(begin + at)).await;
        measured.push(held(&run.tintype));
        for (name, held) in measured.last().expect("just now") {
            held.print(name, when);
        }
    }
    run.end(lanes).await;
    let (first, last) = (measured[0], measured[2]);
    for ((name, first), (_, last)) in first.into_iter().zip(last) {
        assert!(first.is_flat(last), "the {name} had {first:?} at the start and {last:?} at the end");
    }
}
