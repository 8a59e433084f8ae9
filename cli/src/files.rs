//! Which files to upload, and what to call a file that is downloaded.

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
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default().trim_start_matches('.').trim();
    let safe: String = base.chars().map(|letter| if letter.is_control() { '_' } else { letter }).collect();
    (!safe.is_empty()).then_some(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_afar_cannot_lead_anywhere() {
        let cases = [
            ("cat.png", Some("cat.png")),
            ("../../etc/passwd", Some("passwd")),
            ("..\\..\\boot.ini", Some("boot.ini")),
            (".bashrc", Some("bashrc")),
            ("a\x1b[31m.png", Some("a_[31m.png")),
            ("..", None),
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
