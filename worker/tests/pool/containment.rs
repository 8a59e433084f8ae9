//! What a converter cannot do, and how it ends with its worker.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::PathBuf,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, getpgid},
};
use tintype_worker::pool::Containment;

use crate::setup::{Bench, NamedTrial, Watched, start};

pub(crate) fn trials() -> Vec<NamedTrial> {
    vec![
        ("everything_that_no_conversion_needs_is_forbidden", everything_that_no_conversion_needs_is_forbidden),
        ("a_converter_inherits_no_environment_and_no_descriptors", a_converter_inherits_no_environment_and_no_descriptors),
        ("a_converter_is_bound_before_its_first_picture", a_converter_is_bound_before_its_first_picture),
        ("a_converter_has_two_threads_and_both_are_shut_in", a_converter_has_two_threads_and_both_are_shut_in),
        ("a_killed_worker_leaves_no_converter", a_killed_worker_leaves_no_converter),
        ("converters_start_also_when_the_program_is_gone", converters_start_also_when_the_program_is_gone),
        ("without_landlock_auto_makes_do_and_require_refuses", without_landlock_auto_makes_do_and_require_refuses),
        ("a_dropped_pool_leaves_no_converter", a_dropped_pool_leaves_no_converter),
    ]
}

fn everything_that_no_conversion_needs_is_forbidden() {
    let bench = Bench::new();
    assert_eq!(bench.pool.containment(), Containment::FULL, "this machine has a current kernel");
    let forbidden = [
        "read a file",
        "write a file",
        "list a folder",
        "remove a file",
        "connect",
        "listen",
        "connect locally",
        "start a program",
        "start a thread",
        "become a program",
        "fork",
        "fork in another way",
        "trace",
        "read others' memory",
        "end others",
        "end a thread of others",
        "have others signalled",
        "raise a limit",
        "outlive the worker",
        "run what it wrote",
        "make memory without end",
        "cut the result",
    ];
    for what in forbidden {
        let told = bench.report(&format!("try {what} on {}", std::process::id()));
        assert_eq!(told, "permission denied", "{what}");
    }
}

fn a_converter_inherits_no_environment_and_no_descriptors() {
    let inherited = File::open("/dev/null").expect("it is there");
    fcntl_setfd(&inherited, FdFlags::empty()).expect("it may be inherited from now on");
    let bench = Bench::new();
    assert_eq!(bench.report("environment"), "[]");
    assert_eq!(bench.report("descriptors"), "[0, 1, 2, 4]", "the channel, two for output, and the result: the original is only mapped");
}

fn a_converter_is_bound_before_its_first_picture() {
    let bench = Bench::new();
    let pid = bench.converter();
    let limits = fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero())).expect("the kernel tells");
    let hard = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("there is such a limit");
        line.split_ascii_whitespace().nth(1).expect("it has a hard value").to_owned()
    };
    assert_eq!(["Max core file size", "Max processes", "Max open files"].map(hard), ["0", "0", "5"]);
    for name in ["Max data size", "Max address space", "Max file size", "Max cpu time"] {
        assert!(hard(name).parse::<u64>().is_ok(), "{name} is bounded: {}", hard(name));
    }
    assert_eq!(getpgid(Some(pid)).expect("it lives"), pid, "it has a group of its own");
}

fn a_converter_has_two_threads_and_both_are_shut_in() {
    let bench = Bench::new();
    assert!(bench.convert("pixel").is_ok());
    let threads = fs::read_dir(format!("/proc/{}/task", bench.converter().as_raw_nonzero())).expect("the kernel tells");
    let threads: Vec<String> = threads
        .map(|thread| fs::read_to_string(thread.expect("the kernel tells").path().join("status")).expect("the kernel tells"))
        .collect();
    assert_eq!(threads.len(), 2, "one converts, one helps");
    for status in threads {
        for shut_in in ["Name:\ttintype-convert\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n", "Seccomp_filters:\t1\n"] {
            assert!(status.contains(shut_in), "{shut_in:?} is not in {status}");
        }
    }
}

fn a_killed_worker_leaves_no_converter() {
    let mut worker = start(&program(), "hanging-worker");
    let mut line = String::new();
    BufReader::new(worker.stdout.take().expect("it is piped")).read_line(&mut line).expect("the worker speaks");
    let converter = Watched::new(Pid::from_raw(line.trim().parse().expect("a number")).expect("not 0"));
    worker.kill().expect("it runs");
    worker.wait().expect("it was killed");
    converter.wait();
}

fn converters_start_also_when_the_program_is_gone() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let copy = folder.path().join("worker");
    fs::copy(program(), &copy).expect("programs can be copied");
    assert!(start(&copy, "worker-without-file").wait().expect("it ends").success());
    assert!(!copy.exists());
}

fn without_landlock_auto_makes_do_and_require_refuses() {
    let told = start(&program(), "worker-on-an-old-kernel").wait_with_output().expect("it ends").stdout;
    let told = String::from_utf8(told).expect("it is text");
    let [auto, require] = told.lines().collect::<Vec<_>>()[..] else { panic!("two modes: {told}") };
    assert_eq!(auto, "process+seccomp");
    assert!(require.contains("only process+seccomp") && require.contains("--sandbox auto"), "{require}");
}

fn program() -> PathBuf {
    env::current_exe().expect("a test knows its own path")
}

fn a_dropped_pool_leaves_no_converter() {
    let bench = Bench::new();
    let converter = Watched::new(bench.converter());
    drop(bench);
    converter.wait();
}
