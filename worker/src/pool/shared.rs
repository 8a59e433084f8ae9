//! Memory that two processes share: written by one, sealed, then read by the other in place.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    ops::Deref,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create},
    io::Errno,
};

use super::system::Mapping;

/// Once sealed, nobody can change or shorten it, whoever else holds a descriptor, so a mapping of it never faults and never changes.
const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK);

/// Memory without a name in any file system, gone with its last descriptor and mapping.
#[derive(Debug)]
pub struct SharedMemory(File);

impl SharedMemory {
    /// Empty memory, to be written.
    pub fn create() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = match memfd_create("tintype", flags | MemfdFlags::NOEXEC_SEAL) {
            // Kernels before 6.3 do not know the last flag.
            Err(Errno::INVAL) => memfd_create("tintype", flags),
            created => created,
        };
        Ok(Self(memory?.into()))
    }

    /// How many bytes it has now.
    pub(super) fn size_bytes(&self) -> io::Result<u64> {
        Ok(fstat(&self.0)?.st_size as u64)
    }

    /// Memory of another process, to be written.
    pub(super) fn received(descriptor: OwnedFd) -> Self {
        Self(descriptor.into())
    }

    /// Ends all writing, by whatever descriptor. Of memory that somebody has mapped to write, or of which the kernel holds a page just then, it
    /// gives a copy.
    pub fn seal(self) -> io::Result<SealedMemory> {
        let sealed = match fcntl_add_seals(&self.0, SEALS | SealFlags::SEAL) {
            Ok(()) => self,
            Err(Errno::BUSY) => {
                let copy = self.copy()?;
                fcntl_add_seals(&copy.0, SEALS | SealFlags::SEAL)?;
                copy
            }
            Err(error) => return Err(error.into()),
        };
        SealedMemory::received(sealed.0.into())
    }

    /// The bytes as they are now, in memory that nobody else knows.
    fn copy(mut self) -> io::Result<Self> {
        let size_bytes = self.0.metadata()?.len();
        self.0.rewind()?;
        let mut copy = Self::create()?;
        io::copy(&mut self.0.take(size_bytes), &mut copy.0)?;
        Ok(copy)
    }

    /// The descriptor, to be passed on.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(super) fn file(&self) -> &File {
        &self.0
    }
}

impl Write for SharedMemory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Memory that never changes again.
#[derive(Debug)]
pub struct SealedMemory {
    descriptor: OwnedFd,
    size_bytes: usize,
}

impl SealedMemory {
    /// Memory of another process. Refuses what is not sealed.
    pub(super) fn received(descriptor: OwnedFd) -> io::Result<Self> {
        if !fcntl_get_seals(&descriptor)?.contains(SEALS) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the memory is not sealed"));
        }
        let size_bytes = fstat(&descriptor)?.st_size as usize;
        Ok(Self { descriptor, size_bytes })
    }

    /// What is in it.
    pub(super) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// The descriptor, to be passed on.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// The bytes in place; they stay readable when this is dropped. Empty memory cannot be mapped.
    pub(super) fn map(&self) -> io::Result<Mapped> {
        Mapping::new(self.descriptor.as_fd(), self.size_bytes).map(Mapped)
    }
}

/// The bytes of a [`SealedMemory`].
#[derive(Debug)]
pub(super) struct Mapped(Mapping);

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_memory_can_be_read_in_place_and_changed_by_nobody() {
        let mut memory = SharedMemory::create().expect("there is memory");
        memory.write_all(b"picture").expect("it can be written");
        let mut other = memory.0.try_clone().expect("descriptors can be copied");
        let sealed = memory.seal().expect("nobody has mapped it");
        let mapped = sealed.map().expect("it can be mapped");
        other.write_all(b"!").expect_err("no writing");
        other.set_len(1).expect_err("no shortening");
        drop((sealed, other));
        assert_eq!(&*mapped, b"picture");
    }

    #[test]
    fn memory_that_somebody_has_mapped_to_write_is_copied() {
        let mut memory = SharedMemory::create().expect("there is memory");
        memory.write_all(b"picture").expect("it can be written");
        let mut other = memory.0.try_clone().expect("descriptors can be copied");
        let held = Mapping::to_write(memory.descriptor(), 7).expect("it can be mapped");
        let sealed = memory.seal().expect("it can be copied");
        other.rewind().and_then(|()| other.write_all(b"changed")).expect("it is not sealed itself");
        assert_eq!(&*sealed.map().expect("it can be mapped"), b"picture");
        drop(held);
    }

    #[test]
    fn memory_that_is_not_sealed_is_refused() {
        let memory = SharedMemory::create().expect("there is memory");
        let refused = SealedMemory::received(memory.0.into()).expect_err("its writer could shorten it");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }
}
