use std::collections::HashSet;

use tintype_proto::v1::DownloadInfo;
use unicode_normalization::UnicodeNormalization;

/// What every archive can hold: the name field of a tar header.
const MAX_NAME_BYTES: usize = 100;
/// Names that Windows gives to devices, with any extension.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// Names of files that are to lie in one folder: no two alike, on Windows, macOS and Linux.
pub(super) struct Names {
    /// As the least discerning file system compares them.
    given: HashSet<String>,
}

impl Names {
    /// None of these is given.
    pub(super) fn new<const N: usize>(reserved: [&str; N]) -> Self {
        Self { given: reserved.into_iter().map(folded).collect() }
    }

    /// A name for a picture, after the uploaded file and the picture's format.
    pub(super) fn of(&mut self, info: &DownloadInfo) -> String {
        let (stem, extension) = parts(info);
        let plain = joined(&stem, "", &extension);
        if self.given.insert(folded(&plain)) {
            return plain;
        }
        // An id is in no other name of this kind, unless somebody uploaded a file under just that name.
        let id = if info.rendition_id == 0 { info.image_id } else { info.rendition_id };
        let (mut addition, mut attempt) = (format!("-{id}"), 1);
        loop {
            let name = joined(&stem, &addition, &extension);
            if self.given.insert(folded(&name)) {
                return name;
            }
            attempt += 1;
            addition = format!("-{id}-{attempt}");
        }
    }
}

fn parts(info: &DownloadInfo) -> (String, String) {
    let safe = safe(&info.file_name);
    let (stem, extension) = match safe.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.len() <= 16 && extension.chars().all(char::is_alphanumeric) => {
            (stem.to_owned(), format!(".{extension}"))
        }
        _ => (safe, String::new()),
    };
    let stem = stem.trim_end_matches(['.', ' ']).to_owned();
    if stem.is_empty() { (format!("image-{}", info.image_id), extension) } else { (stem, extension) }
}

/// Without what a file system, a shell or a terminal takes for something else.
fn safe(name: &str) -> String {
    let safe: String = name
        .nfc()
        .map(|letter| match letter {
            '<' | '>' | ':' | '"' | '/' | '\\' | '|' | '?' | '*' => '_',
            // Marks that turn the direction of what follows, so that an extension looks like another.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '_',
            letter if letter.is_control() => '_',
            letter => letter,
        })
        .collect();
    let safe = safe.trim_start_matches(['.', ' ', '-']).trim_end_matches(['.', ' ']);
    let device = safe.split('.').next().unwrap_or_default().trim_end().to_lowercase();
    let is_port = ["com", "lpt"].iter().any(|port| device.strip_prefix(port).is_some_and(|rest| rest.chars().count() == 1));
    if is_port || DEVICES.contains(&device.as_str()) { format!("_{safe}") } else { safe.to_owned() }
}

/// Shortens the stem, not what follows it.
fn joined(stem: &str, addition: &str, extension: &str) -> String {
    let room = MAX_NAME_BYTES - addition.len() - extension.len();
    let end = (0..=room.min(stem.len())).rev().find(|end| stem.is_char_boundary(*end)).unwrap_or_default();
    format!("{}{addition}{extension}", &stem[..end])
}

fn folded(name: &str) -> String {
    name.nfd().collect::<String>().to_lowercase().nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(image_id: i64, file_name: &str) -> DownloadInfo {
        DownloadInfo { image_id, file_name: file_name.to_owned(), ..DownloadInfo::default() }
    }

    #[test]
    fn no_two_names_are_alike_on_any_system() {
        let mut names = Names::new(["manifest.json"]);
        let given: Vec<_> =
            [(1, "dog.png"), (2, "DOG.png"), (3, "dog.PNG"), (4, "dog-2.png"), (5, "Manifest.json"), (6, "caf\u{e9}"), (7, "CAFE\u{301}")]
                .map(|(id, name)| names.of(&info(id, name)))
                .into();
        assert_eq!(given[..5], ["dog.png", "DOG-2.png", "dog-3.PNG", "dog-2-4.png", "Manifest-5.json"]);
        let folds: HashSet<_> = given.iter().map(|name| folded(name)).collect();
        assert_eq!(folds.len(), given.len());
        let mut renditions = Names::new([]);
        let rendition = |id| DownloadInfo { rendition_id: id, ..info(1, "converted_img.jpeg") };
        assert_eq!([7, 8].map(|id| renditions.of(&rendition(id))), ["converted_img.jpeg", "converted_img-8.jpeg"]);
    }

    #[test]
    fn no_name_means_anything_to_a_system() {
        for (name, expected) in [
            ("../../etc/passwd", "_.._etc_passwd"),
            ("C:\\boot.ini", "C__boot.ini"),
            (".bashrc", "bashrc"),
            ("-rf.png", "rf.png"),
            ("con.png", "_con.png"),
            ("LPT\u{b9}", "_LPT\u{b9}"),
            ("a. . .", "a"),
            ("gpj\u{202e}.exe", "gpj_.exe"),
            ("a\tb", "a_b"),
            ("...", "image-9"),
            ("company.png", "company.png"),
        ] {
            assert_eq!(Names::new([]).of(&info(9, name)), expected, "{name:?}");
        }
    }

    #[test]
    fn long_names_are_cut_between_letters_and_keep_their_extension() {
        let mut names = Names::new([]);
        for id in 1..4 {
            let name = names.of(&info(id, &format!("{}.jpeg", "é".repeat(120))));
            assert_eq!(name.rsplit_once('.').expect("it has an extension").1, "jpeg");
            assert!(name.len() <= MAX_NAME_BYTES, "{name}");
        }
        assert_eq!(names.given.len(), 3);
    }
}
