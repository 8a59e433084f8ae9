//! Where the bytes of an upload come from.

use std::{
    fmt,
    future::poll_fn,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::Stream;
use tokio::io::AsyncRead;
use tokio_util::io::{StreamReader, poll_read_buf};

use crate::{Error, Result};

/// How much goes into one message: what the service advises.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// Where the bytes of an upload come from.
///
/// Made from a path, from bytes in memory, from an open file, from a [reader](Source::reader) or a [stream](Source::stream).
/// A path and bytes can be read again, so their upload goes on when the connection breaks. A reader and a stream cannot:
/// nothing is taken from them before the server has accepted the file's start, but once it has, a broken connection ends their upload.
#[derive(Clone)]
pub struct Source(Kind);

#[derive(Clone)]
enum Kind {
    Path(PathBuf),
    Bytes(Bytes),
    /// Empty once it is being read. Shared, so that an upload that did not get that far can be begun again.
    Once(Arc<Mutex<Option<Reader>>>),
}

impl Source {
    /// Reads `reader` to its end, once.
    pub fn reader(reader: impl AsyncRead + Send + 'static) -> Source {
        Source(Kind::Once(Arc::new(Mutex::new(Some(Box::pin(reader))))))
    }

    /// Takes all of `stream`, once. Parts may be of any size.
    pub fn stream(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Source {
        Source::reader(StreamReader::new(stream))
    }

    /// The base name of a path; nothing else has a name.
    pub(crate) fn file_name(&self) -> Option<String> {
        match &self.0 {
            Kind::Path(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
            Kind::Bytes(_) | Kind::Once(_) => None,
        }
    }

    /// Whether an upload can be begun again from the first byte.
    pub(crate) fn is_whole(&self) -> bool {
        match &self.0 {
            Kind::Path(_) | Kind::Bytes(_) => true,
            Kind::Once(reader) => reader.lock().unwrap_or_else(PoisonError::into_inner).is_some(),
        }
    }

    /// Whether it can be read only once, so that no byte is taken before the server is ready for it.
    pub(crate) fn is_once(&self) -> bool {
        matches!(self.0, Kind::Once(_))
    }

    /// Makes it ready to be read from its first byte, and tells its size if that is known.
    pub(crate) async fn open(&self) -> Result<(Parts, Option<u64>)> {
        match &self.0 {
            Kind::Path(path) => {
                let cannot_read = |error| Error::local(format!("cannot read {}", path.display()), error);
                let file = tokio::fs::File::open(path).await.map_err(cannot_read)?;
                let metadata = file.metadata().await.map_err(cannot_read)?;
                if metadata.is_dir() {
                    return Err(cannot_read(io::ErrorKind::IsADirectory.into()));
                }
                // The size of a pipe or a device says nothing about what will come out of it.
                Ok((Parts::Reader(Box::pin(file)), metadata.is_file().then_some(metadata.len())))
            }
            Kind::Bytes(bytes) => Ok((Parts::Bytes(bytes.clone()), Some(bytes.len() as u64))),
            Kind::Once(reader) => Ok((Parts::Once(reader.clone()), None)),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Path(path) => write!(f, "Source({})", path.display()),
            Kind::Bytes(bytes) => write!(f, "Source({} bytes)", bytes.len()),
            Kind::Once(_) => f.write_str("Source(reader)"),
        }
    }
}

/// A path. What is in the file is read when it is its turn.
impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Source {
        Source(Kind::Path(path))
    }
}

/// A path. What is in the file is read when it is its turn.
impl From<&Path> for Source {
    fn from(path: &Path) -> Source {
        Source(Kind::Path(path.to_owned()))
    }
}

/// A path. What is in the file is read when it is its turn.
impl From<&str> for Source {
    fn from(path: &str) -> Source {
        Source(Kind::Path(path.into()))
    }
}

impl From<Bytes> for Source {
    fn from(bytes: Bytes) -> Source {
        Source(Kind::Bytes(bytes))
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Source {
        Source(Kind::Bytes(bytes.into()))
    }
}

impl From<&'static [u8]> for Source {
    fn from(bytes: &'static [u8]) -> Source {
        Source(Kind::Bytes(Bytes::from_static(bytes)))
    }
}

/// An open file, read from where it stands to its end, once.
impl From<tokio::fs::File> for Source {
    fn from(file: tokio::fs::File) -> Source {
        Source::reader(file)
    }
}

/// An opened source, on its way to its end.
pub(crate) enum Parts {
    Bytes(Bytes),
    Reader(Reader),
    Once(Arc<Mutex<Option<Reader>>>),
}

impl Parts {
    /// Passes over the first bytes, of which there must be so many.
    pub(crate) async fn skip(&mut self, mut bytes: u64) -> io::Result<()> {
        let shorter = || io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than what was sent of it before");
        if let Parts::Bytes(rest) = self {
            let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= rest.len()).ok_or_else(shorter)?;
            *rest = rest.slice(bytes..);
            return Ok(());
        }
        // Read rather than sought, since not everything that has a path can seek.
        while bytes > 0 {
            let Parts::Reader(reader) = self else { return Err(shorter()) };
            let skipped = read_chunk(reader, bytes.min(CHUNK_BYTES as u64) as usize).await?;
            if skipped.is_empty() {
                return Err(shorter());
            }
            bytes -= skipped.len() as u64;
        }
        Ok(())
    }

    /// The next part: full chunks, then a shorter one, then `None`.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Parts::Once(shared) = self {
            let taken = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
            *self = Parts::Reader(taken.ok_or_else(|| io::Error::other("the source was read before"))?);
        }
        let part = match self {
            Parts::Bytes(rest) => rest.split_to(CHUNK_BYTES.min(rest.len())),
            Parts::Reader(reader) => read_chunk(reader, CHUNK_BYTES).await?,
            Parts::Once(_) => Bytes::new(),
        };
        Ok((!part.is_empty()).then_some(part))
    }
}

/// A chunk of `size` bytes if the reader is quick; what there is if it makes one wait, so that slow sources keep the stream alive.
async fn read_chunk(reader: &mut Reader, size: usize) -> io::Result<Bytes> {
    let mut chunk = BytesMut::with_capacity(size);
    poll_fn(|context| {
        while chunk.len() < size {
            let room = size - chunk.len();
            match poll_read_buf(reader.as_mut(), context, &mut (&mut chunk).limit(room)) {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if chunk.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    })
    .await?;
    Ok(chunk.freeze())
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};

    use super::*;

    async fn lengths(source: Source) -> Vec<usize> {
        let (mut parts, _) = source.open().await.unwrap();
        let mut lengths = Vec::new();
        while let Some(part) = parts.next().await.unwrap() {
            lengths.push(part.len());
        }
        lengths
    }

    #[tokio::test]
    async fn parts_are_full_chunks_whatever_the_source_gives() {
        let bytes = vec![7; CHUNK_BYTES * 2 + 5];
        let expected = [CHUNK_BYTES, CHUNK_BYTES, 5];
        assert_eq!(lengths(bytes.clone().into()).await, expected);

        let crumbs: Vec<_> = bytes.chunks(10_007).map(|crumb| Ok(Bytes::copy_from_slice(crumb))).collect();
        assert_eq!(lengths(Source::stream(stream::iter(crumbs))).await, expected);
        assert_eq!(lengths(Source::stream(stream::iter([Ok(bytes.clone().into())]))).await, expected);

        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        assert_eq!(lengths(file.path().into()).await, expected);
    }

    #[tokio::test]
    async fn what_a_slow_source_has_is_not_held_back() {
        let source = Source::stream(stream::iter([Ok(Bytes::from_static(b"first"))]).chain(stream::pending()));
        let (mut parts, _) = source.open().await.unwrap();
        assert_eq!(parts.next().await.unwrap().unwrap(), "first");
    }

    #[tokio::test]
    async fn a_reader_is_whole_until_its_first_part_is_taken() {
        let source = Source::reader(io::Cursor::new(vec![1, 2, 3]));
        assert!(source.is_once() && source.is_whole());
        let (mut parts, _) = source.open().await.unwrap();
        assert!(source.is_whole());
        parts.next().await.unwrap();
        assert!(!source.is_whole());
    }

    #[tokio::test]
    async fn a_folder_is_not_a_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Source::from(folder.path()).open().await.is_err());
    }
}
