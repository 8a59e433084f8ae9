use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tintype_proto::v1::ArchiveKind;
use tintype_store::Timestamp;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions, write::StreamWriter};

use crate::status::Refusal;

/// A tar file consists of blocks of this size.
const TAR_BLOCK_BYTES: usize = 512;
/// What a file of an archive may be used for: its owner may change it, everybody may read it.
const MODE: u32 = 0o644;
/// Of a file that may be larger a ZIP file needs the longer fields of ZIP64.
const LARGE_FILE_BYTES: u64 = u32::MAX as u64;

/// An archive that is written front to back. What it has become is taken out again and again, so that it holds nothing but a ZIP file's list.
pub(super) struct Archive {
    written: Buffer,
    kind: Kind,
}

enum Kind {
    Zip(Box<ZipWriter<StreamWriter<Buffer>>>),
    /// With the size of the file at hand.
    Tar(u64),
}

impl Archive {
    /// The archive of a request; `None` when none is asked for.
    pub(super) fn of(field: &'static str, value: i32) -> Result<Option<Self>, Refusal> {
        let written = Buffer::default();
        let kind = match ArchiveKind::try_from(value) {
            Ok(ArchiveKind::Unspecified) => return Ok(None),
            Ok(ArchiveKind::Zip) => Kind::Zip(Box::new(ZipWriter::new_stream(written.clone()))),
            Ok(ArchiveKind::Tar) => Kind::Tar(0),
            Err(_) => return Err(Refusal::field(field, format_args!("has no kind {value}"))),
        };
        Ok(Some(Self { written, kind }))
    }

    /// Begins a file of that size. Its name is in no other use.
    pub(super) fn begin(&mut self, name: &str, size_bytes: u64, modified: Timestamp) -> Result<(), Refusal> {
        let seconds = (modified.0.max(0) as u64) / 1_000_000;
        match &mut self.kind {
            Kind::Zip(zip) => {
                let options = SimpleFileOptions::default()
                    .compression_method(CompressionMethod::Stored)
                    .large_file(size_bytes >= LARGE_FILE_BYTES)
                    .unix_permissions(MODE)
                    .last_modified_time(dos_time(seconds));
                zip.start_file(name, options).map_err(|error| Refusal::internal(&error))
            }
            Kind::Tar(size) => {
                *size = size_bytes;
                let mut header = tar::Header::new_ustar();
                header.set_path(name).map_err(|error| Refusal::internal(&error))?;
                header.set_size(size_bytes);
                header.set_mode(MODE);
                header.set_mtime(seconds);
                header.set_entry_type(tar::EntryType::Regular);
                header.set_cksum();
                self.write(header.as_bytes())
            }
        }
    }

    /// The next bytes of the file.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        match &mut self.kind {
            Kind::Zip(zip) => zip.write_all(bytes),
            Kind::Tar(_) => self.written.write_all(bytes),
        }
        .map_err(|error| Refusal::internal(&error))
    }

    /// Ends the file.
    pub(super) fn end(&mut self) -> Result<(), Refusal> {
        match self.kind {
            // It ends with the beginning of the next.
            Kind::Zip(_) => Ok(()),
            Kind::Tar(size) => {
                let padding = size.next_multiple_of(TAR_BLOCK_BYTES as u64) - size;
                self.write(&[0; TAR_BLOCK_BYTES][..padding as usize])
            }
        }
    }

    /// Ends the file and the archive.
    pub(super) fn finish(&mut self) -> Result<(), Refusal> {
        self.end()?;
        match mem::replace(&mut self.kind, Kind::Tar(0)) {
            Kind::Zip(zip) => zip.finish().map(drop).map_err(|error| Refusal::internal(&error)),
            Kind::Tar(_) => self.write(&[0; 2 * TAR_BLOCK_BYTES]),
        }
    }

    /// What was written since the last time.
    pub(super) fn take(&mut self) -> Bytes {
        mem::take(&mut *self.written.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

/// Where an archive's writer writes to and its owner takes from.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A time as ZIP files keep it, in UTC; what lies outside of the years 1980 to 2107 becomes the first of these.
fn dos_time(seconds: u64) -> zip::DateTime {
    const DAY: u64 = 86_400;
    // Counted in years that begin in March a leap day is the last day of its year, and months follow a fixed pattern of lengths.
    const DAYS_TO_1970_FROM_MARCH_OF_YEAR_0: u64 = 719_468;
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let days = seconds / DAY + DAYS_TO_1970_FROM_MARCH_OF_YEAR_0;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next_year;
    let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
    zip::DateTime::from_date_and_time(year as u16, month as u8, day as u8, hour as u8, minute as u8, second as u8).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, date) in [
            (315_532_800, (1980, 1, 1, 0, 0)),
            (951_782_399, (2000, 2, 28, 23, 59)),
            (951_825_600, (2000, 2, 29, 12, 0)),
            (1_735_689_599, (2024, 12, 31, 23, 59)),
            (1_772_323_200, (2026, 3, 1, 0, 0)),
            (0, (1980, 1, 1, 0, 0)),
        ] {
            let time = dos_time(seconds);
            assert_eq!((time.year(), time.month(), time.day(), time.hour(), time.minute()), date, "{seconds}");
        }
    }

    #[test]
    fn both_kinds_give_back_what_was_put_in() {
        let files = [("a.png", vec![7; 1000]), ("empty", Vec::new()), ("ü.png", vec![8; 512])];
        let written = |kind: ArchiveKind| {
            let mut archive = Archive::of("archive", kind.into()).expect("a kind").expect("an archive");
            let mut bytes = Vec::new();
            for (name, content) in &files {
                archive.begin(name, content.len() as u64, Timestamp(0)).expect("it begins");
                archive.write(content).expect("it is written");
                archive.end().expect("it ends");
                bytes.extend_from_slice(&archive.take());
            }
            archive.finish().expect("it ends");
            bytes.extend_from_slice(&archive.take());
            bytes
        };
        let mut zip = zip::ZipArchive::new(io::Cursor::new(written(ArchiveKind::Zip))).expect("a ZIP file");
        let tar = written(ArchiveKind::Tar);
        let mut tar = tar::Archive::new(&tar[..]);
        let mut entries = tar.entries().expect("a tar file");
        for (index, (name, content)) in files.iter().enumerate() {
            let (mut zipped, mut tarred) = (Vec::new(), Vec::new());
            let mut file = zip.by_index(index).expect("there is one more");
            io::Read::read_to_end(&mut file, &mut zipped).expect("its checksum is right");
            assert_eq!((file.name().expect("a name").as_ref(), &zipped), (*name, content));
            let mut entry = entries.next().expect("there is one more").expect("its checksum is right");
            io::Read::read_to_end(&mut entry, &mut tarred).expect("it is whole");
            assert_eq!((entry.path().expect("a path").to_str(), &tarred), (Some(*name), content));
        }
        assert!(entries.next().is_none() && zip.len() == files.len());
    }
}
