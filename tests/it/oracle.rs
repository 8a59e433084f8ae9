//! Results beside what decoders read that share nothing with ours: libpng's rules by pypng, libjpeg-turbo and Little CMS by Pillow.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use tintype_client::{Client, Format, Rendition};
use tintype_tests::{Tintype, corpus, required};

use crate::requested::client;

/// Sources with what was made of them, as `tests/oracle/compare.py` reads it.
struct Comparison {
    folder: TempDir,
    lines: String,
    client: Client,
    /// Ends with the comparison.
    _tintype: Tintype,
}

impl Comparison {
    async fn new() -> Self {
        let tintype = Tintype::embedded().await;
        let client = client(&tintype.grpc_url, "admin");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self { folder, lines: String::new(), client, _tintype: tintype }
    }

    /// Has `source` made in these formats. Its comparison is `kind`. What cannot be read is left out, and `false`.
    async fn add(&mut self, kind: &str, source: &Path, formats: &[Format]) -> bool {
        let Ok(image) = self.client.upload(source).send().await else { return false };
        for format in formats {
            let requested = self.client.create_rendition(image.id, *format);
            let requested = if *format == Format::WebP { requested.lossless() } else { requested };
            let Rendition { id, .. } = requested.send().await.expect("asked for");
            let result = self.folder.path().join(format!("{}.{}", id, extension(*format)));
            if self.client.download_rendition(id).wait().to_path(&result).await.is_err() {
                return false;
            }
            writeln!(self.lines, "{kind}\t{}\t{}", source.display(), result.display()).expect("a text grows");
        }
        true
    }

    /// Panics when a result is out of bounds.
    fn compare(&self) {
        let list = self.folder.path().join("list");
        fs::write(&list, &self.lines).expect("a file can be written");
        python("compare.py", &list);
    }
}

fn extension(format: Format) -> &'static str {
    match format {
        Format::Jpeg => "jpg",
        Format::Png => "png",
        Format::WebP => "webp",
        Format::Gif => "gif",
        Format::Tiff => "tiff",
        Format::Bmp => "bmp",
        other => panic!("nothing is made as {other}"),
    }
}

/// Runs a script of `tests/oracle/` on a path; shows what it says. Panics when it fails.
fn python(script: &str, argument: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle").join(script);
    let ended = Command::new(required("TINTYPE_TEST_PYTHON")).arg(script).arg(argument).output().expect("Python starts");
    println!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success());
}

/// Files under a folder of the corpus, with what its manifest says of them; none without a corpus.
fn listed(folder: &str, is_wanted: impl Fn(&[&str]) -> bool) -> Vec<PathBuf> {
    let Some(corpus) = corpus() else {
        println!("TINTYPE_CORPUS is not set: there is nothing to show here");
        return Vec::new();
    };
    let manifest = fs::read_to_string(corpus.join("manifest.tsv")).expect("a corpus has a manifest");
    let rows = manifest.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    rows.filter(|row| row[0].starts_with(folder) && is_wanted(row)).map(|row| corpus.join(row[0])).collect()
}

#[tokio::test]
async fn every_png_of_the_suite_is_the_same_picture_in_every_lossless_format() {
    let sources = listed("pngsuite-and-apng/tests/pngsuite/", |row| row[1] == "PNG" && row[8].is_empty());
    if sources.is_empty() {
        return;
    }
    let mut comparison = Comparison::new().await;
    let mut refused = Vec::new();
    for source in &sources {
        if !comparison.add("exact", source, &[Format::Png, Format::Bmp, Format::Tiff, Format::WebP]).await {
            refused.push(source.file_name().expect("a file has a name").to_owned());
        }
    }
    println!("{} files, not read: {refused:?}", sources.len());
    comparison.compare();
    assert!(comparison.lines.lines().count() >= 161 * 4, "161 files of the suite are whole");
}

#[tokio::test]
async fn pictures_of_every_orientation_stand_upright_in_every_format() {
    let sources = listed("exif-orientation/", |row| row[1] == "JPEG");
    if sources.is_empty() {
        return;
    }
    let mut comparison = Comparison::new().await;
    for source in &sources {
        let formats = [Format::Jpeg, Format::Png, Format::WebP, Format::Gif, Format::Tiff, Format::Bmp];
        assert!(comparison.add("upright", source, &formats).await, "{}", source.display());
    }
    comparison.compare();
}

#[tokio::test]
async fn colours_of_wide_gamut_and_of_inks_are_those_of_a_colour_management_system() {
    let made = tempfile::tempdir().expect("a temporary folder can be made");
    python("make.py", made.path());
    let mut sources: Vec<_> = fs::read_dir(&made).expect("it is there").map(|entry| entry.expect("an entry").path()).collect();
    sources.sort();
    let mut comparison = Comparison::new().await;
    for source in &sources {
        assert!(comparison.add("colour", source, &[Format::Png]).await, "{}", source.display());
    }
    comparison.compare();
}

#[tokio::test]
async fn pixels_of_jpegs_are_those_of_libjpeg_turbo() {
    let is_plain = |row: &[&str]| row[1] == "JPEG" && matches!(row[4], "RGB" | "L") && row[7] == "0" && row[8].is_empty();
    let sources: Vec<_> = ["exif-orientation/", "image-rs/", "libjpeg-turbo/"].iter().flat_map(|folder| listed(folder, is_plain)).collect();
    if sources.is_empty() {
        return;
    }
    let mut comparison = Comparison::new().await;
    let mut refused = Vec::new();
    for source in &sources {
        if !comparison.add("decoded", source, &[Format::Png]).await {
            refused.push(source.file_name().expect("a file has a name").to_owned());
        }
    }
    println!("{} files, not read: {refused:?}", sources.len());
    comparison.compare();
}
