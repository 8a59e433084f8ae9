//! The socket between a worker and its converter. It keeps the bounds of messages, and carries descriptors in one direction only: what
//! a converter might pass to the worker is dropped by the kernel.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    str,
};

use rustix::{
    cmsg_space,
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair,
    },
};

/// Size of a message; all are far smaller.
pub(super) const MAX_MESSAGE_BYTES: usize = 4096;

/// Descriptors of one message: input and output.
const MAX_DESCRIPTORS: usize = 2;

/// Both ends: the worker's, which never waits, and the converter's, which does.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// Sends a message with descriptors.
pub(super) fn send_with(socket: impl AsFd, text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    sendmsg(socket, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Sends a message.
pub(super) fn send_text(socket: impl AsFd, text: &str) -> io::Result<()> {
    retried(|| send(&socket, text.as_bytes(), SendFlags::NOSIGNAL))?;
    Ok(())
}

/// The next message, without descriptors. `None`: the other side is gone. Messages that are too long or no text are an error.
pub(super) fn receive_text(socket: impl AsFd) -> io::Result<Option<String>> {
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    let (_, size_bytes) = retried(|| recv(&socket, &mut buffer, RecvFlags::TRUNC))?;
    text(&buffer, size_bytes)
}

/// The next message and what came with it; otherwise like [`receive_text`].
pub(super) fn receive_with(socket: impl AsFd) -> io::Result<Option<(String, Vec<OwnedFd>)>> {
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = retried(|| {
        let flags = RecvFlags::TRUNC | RecvFlags::CMSG_CLOEXEC;
        recvmsg(&socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags)
    })?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    Ok(text(&buffer, received.bytes)?.map(|text| (text, descriptors)))
}

fn text(buffer: &[u8], size_bytes: usize) -> io::Result<Option<String>> {
    let no_message = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    if size_bytes == 0 {
        return Ok(None);
    }
    let bytes = buffer.get(..size_bytes).ok_or_else(|| no_message("the message is too long"))?;
    let text = str::from_utf8(bytes).map_err(|_| no_message("the message is no text"))?;
    Ok(Some(text.to_owned()))
}

fn retried<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
