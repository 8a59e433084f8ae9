//! Pictures that are none: their bytes say what the converter does when it gets them.
#![expect(unsafe_code, reason = "a converter in the hands of its picture keeps to nothing")]

use std::{
    env,
    fs::{self, File},
    hint::black_box,
    io,
    net::{TcpStream, UdpSocket},
    os::{fd::BorrowedFd, unix::net::UnixStream},
    process::{self, Command},
    thread,
};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    io::Errno,
    net::{SendFlags, send},
};
use tintype_store::{ConversionLimits, FailureReason, ImageHeader, Picture, Spec};
use tintype_worker::convert::{self, ConvertError, Converted};

const CHANNEL: i32 = 0;
const RESULT: i32 = 4;

/// A PNG of one pixel, made by the real converter from a PNM, for poisons that begin with a good answer.
pub(crate) fn pixel(limits: &ConversionLimits) -> Converted {
    let header = ImageHeader { format: tintype_store::Format::Pnm, width: 1, height: 1, frame_count: 1 };
    convert::convert(b"P6 1 1 255\n\x01\x02\x03", &header, &Spec::new(tintype_store::Format::Png), limits).expect("a good picture")
}

/// Does what the input says, and converts it like the real one when it says nothing.
pub(crate) fn convert(input: &[u8], header: &ImageHeader, spec: &Spec, limits: &ConversionLimits) -> Result<Converted, ConvertError> {
    let text = str::from_utf8(input).unwrap_or_default();
    let (poison, argument) = text.split_once(' ').unwrap_or((text, ""));
    match poison {
        "pixel" => Ok(pixel(limits)),
        "crash" => process::abort(),
        "panic" => panic!("poison\x1b[2J"),
        "overflow" => report(overflow(0).to_string()),
        "hang" => hang(),
        "exit" => process::exit(0),
        // The kernel's own way of ending what takes too much memory.
        "die" => report(os_error(unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), libc::SIGKILL) })),
        "reserve" => report(black_box(vec![0_u8; 1 << 40]).len().to_string()),
        "eat" => {
            let mut eaten = Vec::new();
            loop {
                eaten.push(vec![1_u8; 1 << 20]);
            }
        }
        "fill" => loop {
            let _ = rustix::io::write(descriptor(RESULT), &[1; 4096]);
        },
        "keep" => {
            black_box(vec![1_u8; 80 << 20]).leak();
            report(process::id().to_string())
        }
        "hang-up" => {
            // SAFETY: nothing uses stdin any more.
            unsafe { libc::close(CHANNEL) };
            hang()
        }
        "say" => {
            say(argument);
            hang()
        }
        "babble" => {
            say(&"x".repeat(100_000));
            hang()
        }
        "say-also" => {
            say(argument);
            Ok(pixel(limits))
        }
        "not-a-picture" => Ok(Converted { bytes: b"<script>".to_vec(), ..pixel(limits) }),
        "another-picture" => {
            Ok(Converted { picture: Picture { width: 2, height: 1, frame_count: 1, first_frame_only: false }, ..pixel(limits) })
        }
        "empty" => Ok(Converted { bytes: Vec::new(), ..pixel(limits) }),
        "pid" => report(process::id().to_string()),
        "environment" => report(format!("{:?}", env::vars_os().collect::<Vec<_>>())),
        "descriptors" => {
            // The one question that is allowed tells what is open from what is not.
            let open = (0..1024).filter(|number| rustix::fs::fcntl_get_seals(descriptor(*number)) != Err(Errno::BADF));
            report(format!("{:?}", open.collect::<Vec<_>>()))
        }
        "try" => {
            let (what, worker) = argument.split_once(" on ").expect("it says on whom");
            report(attempt(what, worker.parse().expect("a number")))
        }
        _ => convert::convert(input, header, spec, limits),
    }
}

/// Tries what a converter must not do, where it needs somebody else on its worker.
fn attempt(what: &str, worker: i64) -> String {
    // SAFETY: each call is refused before it looks at its arguments; if it were not, the trial would say so.
    let call = |number, [first, second, third]: [i64; 3]| os_error(unsafe { libc::syscall(number, first, second, third, 0, 0, 0) });
    match what {
        "read a file" => told(File::open("/etc/passwd")),
        "write a file" => told(File::create("/tmp/tintype-poison")),
        "list a folder" => told(fs::read_dir("/")),
        "remove a file" => told(fs::remove_file("/tmp/tintype-poison")),
        "connect" => told(TcpStream::connect("127.0.0.1:1")),
        "listen" => told(UdpSocket::bind("127.0.0.1:0")),
        "connect locally" => told(UnixStream::connect("/run/anything")),
        "start a program" => told(Command::new("/bin/true").spawn()),
        "start a thread" => told(thread::Builder::new().spawn(|| ())),
        "become a program" => call(libc::SYS_execveat, [-1, 0, 0]),
        "fork" => call(libc::SYS_clone, [i64::from(libc::SIGCHLD), 0, 0]),
        "fork in another way" => call(libc::SYS_clone3, [0, 0, 0]),
        "trace" => call(libc::SYS_ptrace, [i64::from(libc::PTRACE_ATTACH), worker, 0]),
        "read others' memory" => call(libc::SYS_process_vm_readv, [worker, 0, 0]),
        "end others" => call(libc::SYS_kill, [worker, 0, 0]),
        "end a thread of others" => call(libc::SYS_tgkill, [worker, worker, 0]),
        "have others signalled" => call(libc::SYS_fcntl, [0, i64::from(libc::F_SETOWN), worker]),
        "raise a limit" => call(libc::SYS_prlimit64, [0, i64::from(libc::RLIMIT_AS as i32), 0]),
        "outlive the worker" => call(libc::SYS_prctl, [i64::from(libc::PR_SET_PDEATHSIG), 0, 0]),
        "run what it wrote" => {
            let executable = i64::from(libc::PROT_EXEC | libc::PROT_READ);
            call(libc::SYS_mmap, [0, 4096, executable])
        }
        "make memory without end" => told(memfd_create("more", MemfdFlags::empty())),
        "cut the result" => told(ftruncate(descriptor(RESULT), 0)),
        other => panic!("{other} is not known"),
    }
}

fn report(message: String) -> Result<Converted, ConvertError> {
    Err(ConvertError { reason: FailureReason::UnsupportedInput, message })
}

fn told<T>(outcome: Result<T, impl Into<io::Error>>) -> String {
    outcome.map_or_else(|error| error.into().kind().to_string(), |_| "done".to_owned())
}

fn os_error(returned: i64) -> String {
    told(if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(()) })
}

fn say(text: &str) {
    send(descriptor(CHANNEL), text.as_bytes(), SendFlags::empty()).expect("the channel is open");
}

fn descriptor(number: i32) -> BorrowedFd<'static> {
    // SAFETY: nobody closes it while the poison works; whether it is open at all is what is asked.
    unsafe { BorrowedFd::borrow_raw(number) }
}

fn hang() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

#[expect(unconditional_recursion, reason = "that is the poison")]
fn overflow(depth: u64) -> u64 {
    let room = black_box([depth; 512]);
    overflow(depth + 1) + room[0]
}
