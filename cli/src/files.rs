//! Which files to upload, and where what is downloaded goes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tintype_client::{Format, Image};

/// The paths in the order given; a folder stands for all files in it and below, in the order of their names.
pub(crate) fn within(paths: Vec<PathBuf>) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk(&path, &mut files)?;
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// Links to folders are not followed, so no folder is walked twice; pipes and devices are no files.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries: io::Result<Vec<PathBuf>> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
    let mut entries = entries?;
    entries.sort_unstable();
    for path in entries {
        if path.is_file() {
            files.push(path);
        } else if path.is_dir() && !path.is_symlink() {
            walk(&path, files)?;
        }
    }
    Ok(())
}

/// What a name to write to leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A pipe or a device, by the name that was given. It is written to; giving a new file its name would take it away from everybody.
    Special(PathBuf),
    /// A file, which may not be there yet: where a link leads to one, that one and not the link.
    File(PathBuf),
}

/// Where to write what is to be at `path`.
pub(crate) fn place(path: &Path) -> Place {
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => Place::Special(path.to_owned()),
        // What is open behind `/dev/stdout`, say, may have lost its own name: then there is nothing to replace.
        Ok(_) => path.canonicalize().map_or_else(|_| Place::Special(path.to_owned()), Place::File),
        Err(_) => Place::File(path.to_owned()),
    }
}

/// A name for the image in that format, made from the name of the uploaded file: in the current folder, visible, without surprises.
pub(crate) fn download_name(image: &Image, format: Format) -> String {
    if format == image.format {
        return safe_name(&image.file_name).unwrap_or_else(|| format!("image-{}.{format}", image.id));
    }
    let safe = safe_name(&image.file_name).unwrap_or_else(|| format!("image-{}", image.id));
    let stem = match safe.rsplit_once('.') {
        Some((stem, _)) if !stem.is_empty() => stem,
        _ => &safe,
    };
    format!("{stem}.{format}")
}

/// The name came from somebody else: nothing in it may lead to another folder, hide the file, or play with the terminal.
fn safe_name(name: &str) -> Option<String> {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let base = base.trim_start_matches(|letter: char| letter == '.' || letter.is_whitespace()).trim_end();
    let safe: String = base.chars().map(|letter| if is_unseen(letter) { '_' } else { letter }).collect();
    (!safe.is_empty()).then_some(safe)
}

/// Controls, letters without width that no script needs, and marks that turn the direction of what follows, so that an extension looks
/// like another.
fn is_unseen(letter: char) -> bool {
    match letter {
        '\u{ad}' | '\u{200b}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => true,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        _ => letter.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd as _, RawFd};

    use super::*;

    #[test]
    fn what_has_no_name_of_its_own_is_written_to_as_it_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (file, link, missing) = (root.join("a.zip"), root.join("link.zip"), root.join("missing.zip"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for (path, expected) in [(&file, &file), (&link, &file), (&missing, &missing)] {
            assert_eq!(place(path), Place::File(expected.clone()));
        }
        let open = |descriptor: RawFd| PathBuf::from(format!("/dev/fd/{descriptor}"));
        let (_reader, writer) = io::pipe().unwrap();
        let nameless = fs::File::open(&file).unwrap();
        fs::remove_file(&file).unwrap();
        for path in [open(writer.as_raw_fd()), open(nameless.as_raw_fd()), PathBuf::from("/dev/null")] {
            assert_eq!(place(&path), Place::Special(path));
        }
    }

    #[test]
    fn names_from_afar_cannot_lead_anywhere() {
        let cases = [
            ("cat.png", Some("cat.png")),
            ("../../etc/passwd", Some("passwd")),
            ("..\\..\\boot.ini", Some("boot.ini")),
            (".bashrc", Some("bashrc")),
            (". .zshenv", Some("zshenv")),
            (" \u{2003}.\t.zshenv ", Some("zshenv")),
            (".\u{200b}.zshenv", Some("_.zshenv")),
            ("gpj\u{202e}.exe", Some("gpj_.exe")),
            ("a\x1b[31m.png", Some("a_[31m.png")),
            ("..", None),
            (". .", None),
            ("photos/", None),
            ("", None),
        ];
        for (name, safe) in cases {
            assert_eq!(safe_name(name).as_deref(), safe, "{name:?}");
        }
    }

    #[test]
    fn folders_are_walked_in_order_and_links_to_folders_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("b/deep")).unwrap();
        for name in ["c.png", "a.png", "b/deep/x.png", "b/y.png"] {
            fs::write(root.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(root, root.join("b/again")).unwrap();
        let files = within(vec![root.join("c.png"), root.to_owned()]).unwrap();
        let expected = ["c.png", "a.png", "b/deep/x.png", "b/y.png", "c.png"].map(|name| root.join(name));
        assert_eq!(files, expected);
        // The upload says what is wrong with it, and the others go on.
        assert_eq!(within(vec![root.join("missing")]).unwrap(), [root.join("missing")]);
    }
}
