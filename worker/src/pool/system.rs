//! The two things that need unsafe code: reading mapped memory in place, and closing descriptors that are nobody's.
#![expect(unsafe_code, reason = "the system offers both only as calls whose safety depends on their arguments")]

use std::{
    ffi::c_void,
    io,
    os::fd::BorrowedFd,
    ptr::{NonNull, null_mut},
    slice,
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Bytes of a descriptor, mapped read only. [`super::shared`] is the only one to make it, of sealed memory.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<c_void>,
    size_bytes: usize,
}

// SAFETY: a mapping belongs to the whole process, and nobody writes to it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `size_bytes` of memory that was sealed with at least that size: it can neither change nor be cut off.
    pub(super) fn new(sealed: BorrowedFd<'_>, size_bytes: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice overlaps no other. A size of 0 is refused by the kernel.
        let start = unsafe { mmap(null_mut(), size_bytes, ProtFlags::READ, MapFlags::PRIVATE, sealed, 0)? };
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, size_bytes })
    }

    /// Maps memory that is not sealed, such that it can be written to.
    #[cfg(test)]
    pub(super) fn to_write(memory: BorrowedFd<'_>, size_bytes: usize) -> io::Result<Self> {
        // SAFETY: as in `new`; nobody reads it.
        let start = unsafe { mmap(null_mut(), size_bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, memory, 0)? };
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, size_bytes })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is readable for its whole size until it is dropped, and sealed memory does not change.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), self.size_bytes) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this start and size, and no borrow of it is left.
        let unmapped = unsafe { munmap(self.start.as_ptr(), self.size_bytes) };
        debug_assert!(unmapped.is_ok(), "a mapping can be unmapped: {unmapped:?}");
    }
}

/// Closes every descriptor but stdin, stdout and stderr. Only for a process that has just begun, in which nothing owns others yet.
pub(super) fn close_inherited_descriptors() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: the call takes three numbers; the caller promises that nothing owns what is closed.
    match unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
