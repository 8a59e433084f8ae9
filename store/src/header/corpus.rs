//! Compares the scanner with Pillow on a folder of real and of damaged files.
//!
//! `TINTYPE_CORPUS` names the folder; its `manifest.tsv` says what Pillow made of each file, one a line: path, format, width, height and
//! further columns, of which `open_error` is empty where Pillow could open the file.

use std::{fs, path::Path};

use super::{HeaderError, read_header, samples};
use crate::Format;

/// Files on which both may differ, by the beginning of their path.
const MAY_DIFFER: &[(&str, &str)] = &[
    ("fuzz-seeds/tiff/", "some repeat a tag or give a height several values: the scanner sides with the converter's decoder"),
    ("image-rs/tests/images/gif/simple/issue_1455_oversized.gif", "Pillow enlarges the logical screen to hold the first frame"),
    ("image-rs/tests/images/gif/anim/oob.gif", "Pillow enlarges the logical screen to hold the first frame"),
];

#[test]
fn files_are_read_as_pillow_reads_them_or_samples_as_they_were_made() {
    #[expect(clippy::disallowed_methods, reason = "a test has no command line of its own")]
    let Ok(folder) = std::env::var("TINTYPE_CORPUS") else {
        println!("TINTYPE_CORPUS is not set: covering the generated samples only");
        for sample in samples::all() {
            assert_eq!(read_header(&sample.bytes), Ok(sample.header), "{}", sample.name);
        }
        return;
    };
    let folder = Path::new(&folder);
    let manifest = fs::read_to_string(folder.join("manifest.tsv")).expect("the corpus has a manifest");
    let mut lines = manifest.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let columns = lines.next().expect("the manifest has a head");
    let column = |name| columns.iter().position(|column| *column == name).expect("the manifest has this column");
    let (path, format, width, height, open_error) =
        (column("path"), column("format"), column("width"), column("height"), column("open_error"));

    let mut compared = 0;
    let mut differences = Vec::new();
    for row in lines {
        let bytes = fs::read(folder.join(row[path])).expect("a file of the manifest is there");
        // Every file, whatever Pillow says, gets an answer.
        let ours = read_header(&bytes);
        let Some(theirs) = taken(row[format]) else { continue };
        compared += 1;
        let same = match &ours {
            Ok(header) => header.format == theirs && header.width.to_string() == row[width] && header.height.to_string() == row[height],
            Err(HeaderError::Unsupported(_)) => true,
            Err(_) => !row[open_error].is_empty(),
        };
        let may_differ = MAY_DIFFER.iter().any(|(path_start, _)| row[path].starts_with(path_start));
        if !same && !may_differ {
            differences.push(format!("{}: Pillow says {} {}x{}, the scanner {ours:?}", row[path], row[format], row[width], row[height]));
        }
    }
    println!("compared {compared} files");
    assert!(compared > 0, "the manifest has files of formats that are read here");
    assert!(differences.is_empty(), "{} of {compared} differ:\n{}", differences.len(), differences.join("\n"));
}

/// The format that Pillow names, if files of it are read here.
fn taken(pillow: &str) -> Option<Format> {
    match pillow {
        // Several JPEGs in one file, of which the first is the picture.
        "MPO" => Some(Format::Jpeg),
        "PPM" => Some(Format::Pnm),
        other => other.parse().ok(),
    }
}
