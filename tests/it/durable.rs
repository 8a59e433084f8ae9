//! `done` is said after everything is on stable storage: the system calls of a server, in their order.

use std::{collections::HashMap, fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};
use tintype_tests::{Tintype, Upload, pictures};

const FILE_NAME: &str = "in-this-order.png";
const CALLS: &str = "fsync,fdatasync,write,pwrite64,writev,sendto,sendmsg,rename,renameat,renameat2";

/// A system call, from the line where it begins to the line where it returns.
#[derive(Debug, Clone)]
struct Call {
    text: String,
    begin: usize,
    end: usize,
}

/// All calls of a trace, in the order in which they return.
fn calls(lines: &[&str]) -> Vec<Call> {
    let mut unfinished: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (number, begun));
        } else if let Some((_, end)) = rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            if let Some((begin, begun)) = unfinished.remove(thread) {
                calls.push(Call { text: format!("{begun}{end}"), begin, end: number });
            }
        } else {
            calls.push(Call { text: rest.to_owned(), begin: number, end: number });
        }
    }
    calls
}

/// The steps of the upload in their order, or which of them is missing or late.
fn steps(lines: &[&str]) -> Result<Vec<(&'static str, Call)>, String> {
    let calls = calls(lines);
    let begins = |call: &Call, names: &[&str]| names.iter().any(|name| call.text.starts_with(&format!("{name}(")));
    let find = |what: &'static str, after: usize, wanted: &dyn Fn(&Call) -> bool| {
        let found = calls.iter().find(|call| call.begin >= after && wanted(call));
        found.cloned().map(|call| (what, call)).ok_or_else(|| format!("there is no {what}"))
    };
    let sync = |what, after, path: &str| {
        let path = format!("<{path}>");
        find(what, after, &|call| {
            begins(call, &["fsync", "fdatasync"]) && call.text.contains(&path) && call.text.trim_end().ends_with("= 0")
        })
    };
    let renamed = find("name for the blob", 0, &|call| call.text.starts_with("rename") && call.text.contains("/original.png\""))?;
    let paths: Vec<&str> = renamed.1.text.split('"').collect();
    let (staged, blob) = (paths[1], Path::new(paths[3]));
    let mut folders = blob.ancestors().skip(1).map(|folder| folder.to_str().expect("plain paths"));
    let (own, user, root) = (folders.next(), folders.next(), folders.next());
    let named = renamed.1.end + 1;

    let content = sync("sync of the bytes", 0, staged)?;
    if content.1.end > renamed.1.begin {
        return Err("the bytes are synced after they are named".to_owned());
    }
    let own = sync("sync of the blob's folder", named, own.expect("a blob is in a folder"))?;
    let user = sync("sync of the user's folder", named, user.expect("in that of a user"))?;
    let root = sync("sync of the root of the blobs", named, root.expect("in the root"))?;
    let catalog = |call: &Call| call.text.contains("catalog.db-wal>");
    let recorded =
        find("row in the catalog", named, &|call| begins(call, &["write", "pwrite64"]) && catalog(call) && call.text.contains(FILE_NAME))?;
    if [&own, &user, &root].iter().any(|(_, synced)| synced.end > recorded.1.begin) {
        return Err("a folder is synced after the row is written".to_owned());
    }
    let wal = recorded.1.text.split(['<', '>']).nth(1).expect("the path is told");
    let committed = sync("sync of the catalog", recorded.1.end + 1, wal)?;
    let sends = ["write", "writev", "sendto", "sendmsg"];
    let done = find("done", 0, &|call| begins(call, &sends) && call.text.contains("<socket:") && call.text.contains(FILE_NAME))?;
    if done.1.begin < committed.1.end {
        return Err("done is said before the catalog is synced".to_owned());
    }
    Ok(vec![content, renamed, own, user, root, recorded, committed, done])
}

/// Ends the server also when the test fails: whoever traces it is killed then, and lets go of it.
struct Traced(Option<Pid>);

impl Drop for Traced {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[tokio::test]
async fn done_is_said_after_file_folders_and_catalog_are_synced() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let trace = folder.path().join("trace");
    let path = trace.to_str().expect("temporary folders have plain names");
    // Strings as long as a page of the catalog, paths of descriptors, no converters and nothing to convert: a claim syncs the catalog, too.
    let arguments = ["-f", "-y", "-v", "-s", "4200", "-e", &format!("trace={CALLS}"), "-e", "signal=none", "-o", path];
    let mut tintype =
        Tintype::embedded_under("/usr/bin/strace", &arguments, &[("TINTYPE_SANDBOX", "off"), ("TINTYPE_AUTO_FORMATS", "png")]).await;
    let mut strace = tintype.server.take().expect("it runs");
    let mut traced = Traced(strace.children().first().copied());
    let client = tintype.client().await;
    client.upload(Upload::new(FILE_NAME, pictures::png(300, 200, 1))).await.expect("an image");
    kill_process(traced.0.expect("the server is its child"), Signal::TERM).expect("it runs");
    assert!(strace.ended().await.success());
    traced.0 = None;

    let trace = String::from_utf8_lossy(&fs::read(&trace).expect("a trace")).into_owned();
    let lines: Vec<&str> = trace.lines().collect();
    let steps_seen = steps(&lines).unwrap_or_else(|problem| panic!("{problem}"));
    for (what, call) in &steps_seen {
        println!("{:>6} {what}: {}", call.end, call.text.chars().take(150).collect::<String>());
    }
    // Without any one of the syncs, or with it at the end, this test would fail.
    for (what, call) in steps_seen.iter().filter(|(what, _)| what.starts_with("sync")) {
        let mut without = lines.clone();
        let moved = [without[call.begin], without[call.end]];
        (without[call.begin], without[call.end]) = ("", "");
        assert!(steps(&without).is_err(), "{what} is missed");
        without.extend(if call.begin == call.end { &moved[..1] } else { &moved });
        assert!(steps(&without).is_err(), "{what} is late");
    }
}
