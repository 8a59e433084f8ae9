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
