//! What it costs to convert in a process of its own: the same pictures on this thread and through a pool, one after the other.
//!
//! `cargo bench -p tintype-worker` prints milliseconds a conversion, medians of so many: wall clock, and CPU of all processes together.

use std::{
    env, fs,
    io::Write,
    process::ExitCode,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tintype_store::{ConversionLimits, Spec, header::read_header};
use tintype_worker::{
    convert::convert,
    pool::{self, Pool, SharedMemory},
};

/// Width and height of the pictures, and how often each is converted.
const PICTURES: [(u32, u32, usize); 3] = [(32, 32, 500), (640, 480, 100), (2725, 2225, 15)];

fn main() -> ExitCode {
    if pool::is_converter() {
        return pool::serve(convert);
    }
    if env::args().any(|argument| argument == "--list") {
        // A test runner asks; there is nothing to test here.
        return ExitCode::SUCCESS;
    }
    // As in the service, and in its converters.
    tintype_process::bound_heaps();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(compare());
    ExitCode::SUCCESS
}

async fn compare() {
    let limits = ConversionLimits::default();
    let begun = Instant::now();
    let pool = Pool::start(limits.clone()).await.expect("converters start here");
    println!("start of a converter: {:.1} ms", milliseconds(begun.elapsed()));
    println!("{:>11} {:>7} {:>14} {:>14} {:>14} {:>14}", "picture", "times", "here, wall", "pool, wall", "here, CPU", "pool, CPU");
    for (width, height, times) in PICTURES {
        let picture = png(width, height, &limits);
        let header = read_header(&picture).expect("it was just made");
        let spec: Spec = "jpeg".parse().expect("it is a spec");
        let (mut here, mut through) = (Vec::new(), Vec::new());
        let (mut here_cpu, mut through_cpu) = (0, 0);
        for _ in 0..times {
            let (begun, cpu) = (Instant::now(), cpu_nanoseconds());
            // The worker has the file in blocks and puts them together, here as there.
            let input = picture.clone();
            let expected = convert(&input, &header, &spec, &limits).expect("a good picture");
            here.push(begun.elapsed());
            here_cpu += cpu_nanoseconds() - cpu;
            drop(input);

            let (begun, cpu) = (Instant::now(), cpu_nanoseconds());
            let mut memory = SharedMemory::create().expect("there is memory");
            memory.write_all(&picture).expect("there is memory");
            let original = memory.seal().expect("nobody else has it");
            let bytes = pool.convert(&original, header, spec).await.expect("a good picture").bytes;
            through.push(begun.elapsed());
            through_cpu += cpu_nanoseconds() - cpu;
            assert!(bytes == expected.bytes, "the same picture");
        }
        let per_time = |nanoseconds: u64| nanoseconds as f64 / 1e6 / times as f64;
        let (size, here, through) = (format!("{width}x{height}"), median(here), median(through));
        println!("{size:>11} {times:>7} {here:>14.3} {through:>14.3} {:>14.3} {:>14.3}", per_time(here_cpu), per_time(through_cpu));
    }
    for (pid, name) in children() {
        let status = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
        println!("idle {name}: resident {}, of which its own {}", of("Rss:"), of("Private_Dirty:"));
    }
}

/// CPU time of this process and its children, each of which has one thread that works, in nanoseconds.
fn cpu_nanoseconds() -> u64 {
    let of = |pid: &str| -> u64 {
        let spent = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
        spent.split_ascii_whitespace().next().and_then(|time| time.parse().ok()).unwrap_or_default()
    };
    // The time of a running process is told to the nanosecond only by its own clock.
    let own = clock_gettime(ClockId::ProcessCPUTime);
    let own = own.tv_sec as u64 * 1_000_000_000 + own.tv_nsec as u64;
    own + children().iter().map(|(pid, _)| of(pid)).sum::<u64>()
}

/// Number and name of each child of this process.
fn children() -> Vec<(String, String)> {
    let threads = fs::read_dir("/proc/self/task").expect("a process has threads");
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let pids: Vec<String> = lists.flat_map(|list| list.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    pids.into_iter()
        .map(|pid| (pid.clone(), fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()))
        .collect()
}

/// A picture with gradients and fine grain, as a photo has.
fn png(width: u32, height: u32, limits: &ConversionLimits) -> Vec<u8> {
    let mut pnm = format!("P6 {width} {height} 255\n").into_bytes();
    let mut grain = 1_u32;
    for y in 0..height {
        for x in 0..width {
            grain = grain.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (grain >> 28) as u8;
            pnm.extend([(x * 200 / width) as u8 + noise, (y * 200 / height) as u8 + noise, ((x + y) / 16 % 200) as u8 + noise]);
        }
    }
    let header = read_header(&pnm).expect("it is a PNM");
    convert(&pnm, &header, &"png effort=fast".parse().expect("it is a spec"), limits).expect("a good picture").bytes
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    milliseconds(times[times.len() / 2])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
