//! How a converter shuts itself in, before it sees its first picture.

use std::{collections::BTreeMap, env, fs, io};

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, set_parent_process_death_signal, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
    apply_filter_all_threads,
};
use tintype_store::ConversionLimits;

use super::{MAX_CONVERSION_TIMES, message::Containment, system::close_inherited_descriptors};
use crate::convert::companion::{self, Shared};

/// stdin (the channel), stdout, stderr, and two that come with a request. What is not given back leaves no room for the next request.
const MAX_DESCRIPTORS: u64 = 5;

/// What the allocator takes beyond what it is asked for, and the stack.
const ROOM_BYTES: u64 = 16 << 20;

/// Raises the chance that the kernel ends a converter, and not the service, when the machine runs out of memory.
const OUT_OF_MEMORY_SCORE: &str = "500";

/// Ends with the worker, closes what it inherited and gives up everything that no conversion needs, for ever. Says what the kernel could
/// do; only a limit that could not be set is an error.
pub(super) fn enter(limits: &ConversionLimits) -> io::Result<Containment> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::thread::set_name(c"tintype-convert")?;
    // Kernels before 5.9 lack the call. Nothing of ours is inherited anyway: descriptors of Rust programs close on exec.
    let _ = close_inherited_descriptors();
    // Without /proc the service only loses an advantage over its converters.
    let _ = fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_SCORE);
    // Both threads of a conversion are there from now on: neither can start another one later.
    companion::share(|| ()).wait();
    let in_use = memory_in_use()?;
    // Landlock binds only the thread that asks for it.
    let is_bound = [companion::share(forbid_files_and_network), Shared::Done(forbid_files_and_network())]
        .map(|status| status.wait().is_ok_and(|status| status != RulesetStatus::NotEnforced));
    let landlock = is_bound == [true; 2];
    set_limits(limits, in_use)?;
    rustix::thread::set_no_new_privs(true)?;
    let seccomp = allowed_calls().is_ok_and(|filter| apply_filter_all_threads(&filter).is_ok());
    Ok(Containment { landlock, seccomp })
}

fn set_limits(limits: &ConversionLimits, (mapped_bytes, data_bytes): (u64, u64)) -> io::Result<()> {
    let conversion_bytes = limits.memory_bytes.saturating_add(ROOM_BYTES);
    let data_bytes = data_bytes.saturating_add(conversion_bytes);
    // The file is mapped as well. Nothing that `Data` counts is missing here; this bounds what it does not count.
    let address_bytes = mapped_bytes.saturating_add(conversion_bytes).saturating_add(limits.image.max_file_bytes);
    // One more conversion than it is kept for, and that on two threads.
    let cpu_secs = limits.timeout.as_secs().saturating_add(1).saturating_mul(u64::from(MAX_CONVERSION_TIMES) + 2);
    let bounds = [
        (Resource::Data, data_bytes),
        (Resource::As, address_bytes),
        (Resource::Cpu, cpu_secs),
        // The only files that it can write are the results and its last words.
        (Resource::Fsize, limits.memory_bytes),
        (Resource::Nofile, MAX_DESCRIPTORS),
        (Resource::Nproc, 0),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
    ];
    for (resource, bound) in bounds {
        let bound = getrlimit(resource).maximum.map_or(bound, |inherited| bound.min(inherited));
        // At the hard bound of CPU time the kernel kills as it does when memory runs out; before it, it says why.
        let current = if resource == Resource::Cpu { bound.saturating_sub(1) } else { bound };
        setrlimit(resource, Rlimit { current: Some(current), maximum: Some(bound) })?;
    }
    Ok(())
}

/// Address space and private writable memory of this process, in bytes.
fn memory_in_use() -> io::Result<(u64, u64)> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: Vec<u64> = statm.split_ascii_whitespace().filter_map(|pages| pages.parse().ok()).collect();
    let [mapped, _, _, _, _, data, ..] = pages[..] else { return Err(io::ErrorKind::InvalidData.into()) };
    let page_bytes = rustix::param::page_size() as u64;
    Ok((mapped * page_bytes, data * page_bytes))
}

/// No path may be opened, no port bound or connected, nobody signalled, as far as the kernel's version of Landlock knows of these.
fn forbid_files_and_network() -> Result<RulesetStatus, landlock::RulesetError> {
    let newest = ABI::V6;
    let ruleset = Ruleset::default().handle_access(AccessFs::from_all(newest))?.handle_access(AccessNet::from_all(newest))?;
    Ok(ruleset.scope(Scope::from_all(newest))?.create()?.restrict_self()?.ruleset)
}

/// The calls of a conversion; all others fail with EPERM. Libraries try more than they need, such as opening a terminal for their last
/// words, so that ending the process would hide why it ends.
fn allowed_calls() -> Result<BpfProgram, seccompiler::Error> {
    const ANY: [libc::c_long; 21] = [
        // Requests, results, last words.
        libc::SYS_recvmsg,
        libc::SYS_sendto,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_fstat,
        // Memory.
        libc::SYS_brk,
        libc::SYS_mremap,
        libc::SYS_munmap,
        // What the language's runtime does, and how a process ends.
        libc::SYS_clock_gettime,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_gettid,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_yield,
        libc::SYS_sigaltstack,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ANY.into_iter().map(|call| (call, Vec::new())).collect();
    let only_when = |argument, comparison, value| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, comparison, value)?;
        Ok::<_, seccompiler::BackendError>(vec![SeccompRule::new(vec![condition])?])
    };
    let executable = libc::PROT_EXEC as u64;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, only_when(2, SeccompCmpOp::MaskedEq(executable), 0)?);
    }
    // Advice from 100 on is for whoever tests hardware, and takes memory from the machine.
    rules.insert(libc::SYS_madvise, only_when(2, SeccompCmpOp::Lt, libc::MADV_HWPOISON as u64)?);
    // The other commands could have a signal sent to somebody else.
    rules.insert(libc::SYS_fcntl, only_when(1, SeccompCmpOp::Eq, libc::F_GET_SEALS as u64)?);
    // A process that gives up signals itself, and may signal nobody else.
    let own = getpid().as_raw_nonzero().get() as u64;
    rules.insert(libc::SYS_tgkill, only_when(0, SeccompCmpOp::Eq, own)?);
    let architecture = TargetArch::try_from(env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow, architecture)?;
    Ok(filter.try_into()?)
}
