/// Heaps that threads share. glibc would give every thread one of its own, up to eight for each core, and freed image bytes would stay
/// behind in all of them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MALLOC_ARENAS: i32 = 2;

/// Keeps the memory of a process near what it uses. Call it first, before any thread is started.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "glibc offers this setting only as a C function")]
pub fn bound_heaps() {
    // SAFETY: mallopt takes two integers and may be called at any time; a setting that it refuses changes nothing.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, MALLOC_ARENAS) };
}

/// Other allocators keep few heaps by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn bound_heaps() {}
