use std::{fs, path::Path};

/// Heaps that threads share. glibc would give every thread one of its own, up to eight for each core, and freed image bytes would stay
/// behind in all of them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MALLOC_ARENAS: i32 = 2;

/// Larger pieces, such as the memory of a password hash or a decoded picture, go back to the system when they are freed. glibc would raise
/// this by itself to the largest piece that it ever saw, up to 32 MiB.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_PIECE_BYTES: i32 = 1 << 20;

/// Keeps the memory of a process near what it uses. Call it first, before any thread is started.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "glibc offers these settings only as a C function")]
pub fn bound_heaps() {
    let settings =
        [(libc::M_ARENA_MAX, MALLOC_ARENAS), (libc::M_MMAP_THRESHOLD, LARGE_PIECE_BYTES), (libc::M_TRIM_THRESHOLD, LARGE_PIECE_BYTES)];
    for (setting, value) in settings {
        // SAFETY: mallopt takes two integers and may be called at any time; a setting that it refuses changes nothing.
        unsafe { libc::mallopt(setting, value) };
    }
}

/// Other allocators keep few heaps by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn bound_heaps() {}

/// Memory that this process can have at most, in bytes: that of the machine, or of the control groups around it, of either version. `None` where
/// the system does not tell.
pub fn memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_bytes(&text));
    let group = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| group_bytes(&text, Path::new("/sys/fs/cgroup")));
    machine.into_iter().chain(group).min()
}

/// The machine's memory, from `/proc/meminfo` (proc(5)).
fn total_bytes(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The smallest limit of the groups that `/proc/self/cgroup` names (cgroups(7)) and of those around them. A group of version 1 without a limit
/// has one that is far more than any machine's memory.
fn group_bytes(cgroup: &str, root: &Path) -> Option<u64> {
    let limits = cgroup.lines().filter_map(|line| {
        let [hierarchy, controllers, group] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { return None };
        let (root, file) = match (hierarchy, controllers) {
            ("0", "") => (root.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => return None,
        };
        let groups = Path::new(group.trim_start_matches('/')).ancestors().map(|group| root.join(group).join(file));
        groups.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).min()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_of_machine_and_groups_counts() {
        assert_eq!(total_bytes("MemFree: 1 kB\nMemTotal:       16384 kB\n"), Some(16 << 20));
        assert!(memory_bytes().is_some_and(|bytes| bytes > 1 << 20));
        let root = tempfile::tempdir().expect("there is a folder for temporary files");
        let group = root.path().join("shop/worker");
        fs::create_dir_all(&group).expect("folders can be made");
        for (folder, limit) in [(root.path(), "max"), (&root.path().join("shop"), "1000\n"), (&group, "2000\n")] {
            fs::write(folder.join("memory.max"), limit).expect("files can be written");
        }
        assert_eq!(group_bytes("1:name=x:/\n0::/shop/worker\n", root.path()), Some(1000));
        assert_eq!(group_bytes("0::/\n", root.path()), None, "max is no limit");
        let older = root.path().join("memory/shop");
        fs::create_dir_all(&older).expect("folders can be made");
        fs::write(older.join("memory.limit_in_bytes"), "3000\n").expect("files can be written");
        fs::write(root.path().join("memory/memory.limit_in_bytes"), "9223372036854771712\n").expect("files can be written");
        assert_eq!(group_bytes("5:cpu,cpuacct:/shop\n4:memory:/shop\n", root.path()), Some(3000));
    }
}
