//! Thousands of pictures, many of them broken on purpose.

use std::{collections::BTreeMap, fs, path::Path};

use tintype_proto::v1::RenditionState;
use tintype_tests::{Tintype, Upload, corpus};
use tonic::Code;

fn collect(folder: &Path, files: &mut Vec<Upload>) {
    let mut entries: Vec<_> = fs::read_dir(folder).expect("a folder can be read").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else {
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            files.push(Upload::new(&name, fs::read(&path).expect("a file can be read")));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_of_the_corpus_ends_stored_or_refused_and_every_rendition_ready_or_failed() {
    let Some(folder) = corpus() else {
        println!("TINTYPE_CORPUS is not set: there is nothing to show here");
        return;
    };
    let mut files = Vec::new();
    collect(&folder, &mut files);
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let (mut counts, mut stored) = (BTreeMap::<String, u32>::new(), Vec::new());
    for outcome in client.upload_each(files).await.expect("one bad file never ends the stream") {
        match outcome {
            Ok(image) => stored.push(image.id),
            Err(refused) => {
                assert_eq!(refused.code, Code::InvalidArgument, "{refused:?}");
                assert!(!refused.reason.is_empty(), "{refused:?}");
                *counts.entry(format!("refused {}", refused.reason)).or_default() += 1;
            }
        }
    }
    for id in &stored {
        for rendition in client.settled(*id).await.renditions {
            let outcome = match (rendition.state(), &rendition.failure) {
                (RenditionState::Ready, None) => "ready".to_owned(),
                (RenditionState::Failed, Some(failure)) => format!("failed {}", failure.reason().as_str_name()),
                other => panic!("rendition {} of image {id} is {other:?}", rendition.id),
            };
            *counts.entry(outcome).or_default() += 1;
        }
    }
    println!("{} stored, {counts:?}", stored.len());
    assert!(stored.len() > 100, "most of a corpus are pictures");
    assert!(counts.get("ready").is_some_and(|ready| *ready > 100), "and most of them can be converted: {counts:?}");
}
