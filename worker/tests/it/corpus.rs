//! A folder of real, odd and broken files, when there is one: none of them may panic.

use std::{
    collections::BTreeMap,
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use tintype_store::{ConversionLimits, Format, Spec, header::read_header};
use tintype_worker::convert::convert;

/// Converts every file under the folder that `TINTYPE_CORPUS` names; with `TINTYPE_CORPUS_OUT` the results are kept there.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test has no command line of its own")]
fn no_file_of_the_corpus_panics() {
    let Ok(corpus) = std::env::var("TINTYPE_CORPUS") else {
        eprintln!("TINTYPE_CORPUS is not set: nothing was converted");
        return;
    };
    let kept = std::env::var("TINTYPE_CORPUS_OUT").ok().map(PathBuf::from);
    let mut files = Vec::new();
    list(Path::new(&corpus), &mut files);
    assert!(!files.is_empty(), "{corpus} is empty");
    let mut outcomes = BTreeMap::<String, u32>::new();
    let mut wrong = Vec::new();
    for file in &files {
        let bytes = fs::read(file).expect("the corpus can be read");
        let name = file.strip_prefix(&corpus).expect("it is in the corpus").display().to_string();
        for format in [Format::Jpeg, Format::Png] {
            let header = match read_header(&bytes) {
                Ok(header) => header,
                Err(error) => {
                    println!("{name}\theader\t{error}");
                    *outcomes.entry("refused by the header".to_owned()).or_default() += 1;
                    continue;
                }
            };
            let result = catch_unwind(|| convert(&bytes, &header, &Spec::new(format), &ConversionLimits::default()));
            let outcome = match &result {
                Ok(Ok(_)) => "converted",
                Ok(Err(error)) => error.reason.name(),
                Err(_) => "PANIC",
            };
            *outcomes.entry(format!("{} to {format}: {outcome}", header.format)).or_default() += 1;
            match result {
                Ok(Ok(converted)) => {
                    let output = read_header(&converted.bytes).expect("a result has a header");
                    assert_eq!((output.format, output.width, output.height), (format, converted.picture.width, converted.picture.height));
                    if let Some(kept) = &kept {
                        let flat = name.replace('/', "__");
                        fs::write(kept.join(format!("{flat}.{format}")), &converted.bytes).expect("results can be kept");
                    }
                }
                Ok(Err(error)) => {
                    println!("{name}\t{format}\t{outcome}\t{error}");
                    if is_valid_pngsuite(file) {
                        wrong.push(format!("{name} to {format}: {error}"));
                    }
                }
                Err(_) => wrong.push(format!("{name} to {format}: panic")),
            }
        }
    }
    println!("{} files: {outcomes:#?}", files.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// PngSuite's broken files begin with an x.
fn is_valid_pngsuite(file: &Path) -> bool {
    let in_suite = file.components().any(|part| part.as_os_str().to_string_lossy().contains("pngsuite"));
    let named = |name: &str| name.starts_with(|first: char| first != 'x');
    in_suite && file.extension().is_some_and(|it| it == "png") && file.file_stem().and_then(|it| it.to_str()).is_some_and(named)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("the corpus can be read").map(|entry| entry.expect("it can be read").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}
