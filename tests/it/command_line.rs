//! What scripts rely on when they call `tintype`.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};

use tempfile::TempDir;
use tintype_tests::{ADMIN_PASSWORD, Tintype, own_binary, pictures};
use tokio::process::Command;

/// A person with a home folder of their own, who works in it.
pub(crate) struct Person {
    home: TempDir,
    server: String,
}

impl Person {
    pub(crate) fn of(tintype: &Tintype) -> Self {
        Self { home: tempfile::tempdir().expect("a temporary folder can be made"), server: tintype.grpc_url.clone() }
    }

    /// What the environment of this person's programs is.
    pub(crate) fn environment(&self) -> [(&'static str, OsString); 3] {
        let home = self.home.path().into();
        [("HOME", home), ("TINTYPE_SERVER", self.server.clone().into()), ("TINTYPE_PASSWORD", ADMIN_PASSWORD.into())]
    }

    /// The same person, who reaches the server in another way.
    pub(crate) fn by_way_of(tintype: &Tintype, server: String) -> Self {
        Self { server, ..Self::of(tintype) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) async fn tintype(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(own_binary("tintype"));
        command.args(arguments).current_dir(&self.home).env_clear().envs(self.environment());
        command.output().await.expect("the command line runs")
    }

    /// Standard output of a command that succeeds.
    pub(crate) async fn told(&self, arguments: &[&str]) -> String {
        let output = self.tintype(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("what people read is UTF-8")
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) {
        fs::write(self.home.path().join(name), bytes).expect("a file can be written");
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.home.path().join(name)).expect("a file can be read")
    }
}

fn modes_below(folder: &Path, modes: &mut Vec<u32>) {
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let entry = entry.expect("an entry");
        let metadata = entry.metadata().expect("an entry has metadata");
        if metadata.is_dir() {
            modes_below(&entry.path(), modes);
        } else {
            modes.push(metadata.permissions().mode() & 0o777);
        }
    }
}

#[tokio::test]
async fn a_picture_goes_up_and_comes_back_in_both_formats() {
    let tintype = Tintype::embedded().await;
    let person = Person::of(&tintype);
    let png = pictures::png(120, 80, 1);
    person.file("cat.png", &png);

    assert_eq!(person.tintype(&["ls"]).await.status.code(), Some(3), "nobody is signed in");
    person.told(&["login", "--user", "admin"]).await;
    let mut modes = Vec::new();
    modes_below(person.home.path().join(".config").as_path(), &mut modes);
    assert_eq!(modes, [0o600], "the token is nobody else's to read");

    assert_eq!(person.told(&["upload", "cat.png", "--wait"]).await, "1\tcat.png\tready\n");
    for listing in [["ls"].as_slice(), &["show", "1"]] {
        let listing = person.told(listing).await;
        assert!(listing.contains("cat.png") && listing.contains("converted_img.jpeg"), "{listing}");
    }
    person.told(&["get", "1", "--format", "png", "-o", "back.png"]).await;
    assert_eq!(person.read("back.png"), png, "byte for byte");
    person.told(&["get", "1", "-o", "back.jpg"]).await;
    assert_eq!(image::guess_format(&person.read("back.jpg")).expect("a picture"), image::ImageFormat::Jpeg);
    assert_eq!(person.tintype(&["get", "1", "--format", "png", "-o", "-"]).await.stdout, png);

    person.told(&["rm", "1"]).await;
    assert_eq!(person.tintype(&["show", "1"]).await.status.code(), Some(4), "it is gone");
    person.told(&["logout"]).await;
    assert_eq!(person.tintype(&["ls"]).await.status.code(), Some(3), "nobody is signed in");
}

#[tokio::test]
async fn a_file_that_fails_is_a_line_on_stderr_and_the_others_go_on() {
    let tintype = Tintype::embedded().await;
    let person = Person::of(&tintype);
    person.file("one.png", &pictures::png(20, 20, 1));
    person.file("words.png", b"no picture");
    person.file("two.jpg", &pictures::jpeg(20, 20, 2));
    person.told(&["login"]).await;
    let output = person.tintype(&["upload", "one.png", "words.png", "missing.png", "two.jpg", "--wait"]).await;
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<_> = stdout.lines().map(|line| line.split('\t').skip(1).collect::<Vec<_>>()).collect();
    lines.sort();
    assert_eq!(lines, [["one.png", "ready"], ["two.jpg", "ready"]], "{stdout}");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    for name in ["words.png", "missing.png"] {
        assert_eq!(stderr.lines().filter(|line| line.contains(name)).count(), 1, "{name} in {stderr}");
    }
}

#[tokio::test]
async fn without_a_server_it_says_so_with_an_exit_code_of_its_own() {
    let mut tintype = Tintype::embedded().await;
    let person = Person::of(&tintype);
    person.told(&["login"]).await;
    tintype.kill_server().await;
    let output = person.tintype(&["ls"]).await;
    assert_eq!(output.status.code(), Some(5), "{output:?}");
}
