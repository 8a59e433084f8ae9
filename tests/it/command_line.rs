//! What scripts rely on when they call `tintype`.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
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
        self.command(arguments).output().await.expect("the command line runs")
    }

    /// The command line in this person's hands, yet to be started.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(own_binary("tintype"));
        command.args(arguments).current_dir(&self.home).env_clear().envs(self.environment());
        command
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
    for stdout in ["-", "/dev/stdout"] {
        assert_eq!(person.tintype(&["get", "1", "--format", "png", "-o", stdout]).await.stdout, png, "{stdout}");
    }

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

#[tokio::test]
async fn what_is_not_permitted_for_one_image_does_not_stop_the_others() {
    let tintype = Tintype::embedded().await;
    tintype.add_user("ada").await;
    let (admin, ada) = (Person::of(&tintype), Person::of(&tintype));
    admin.told(&["login"]).await;
    ada.told(&["login", "--user", "ada"]).await;
    for (person, name, seed) in [(&admin, "shared.png", 1), (&ada, "one.png", 2), (&ada, "two.png", 3)] {
        person.file(name, &pictures::png(8, 8, seed));
        person.told(&["upload", name]).await;
    }
    admin.told(&["share", "1", "--with", "ada"]).await;
    let output = ada.tintype(&["rm", "1", "2", "3"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{output:?}");
    let left = ada.told(&["ls", "--owner", "anyone"]).await;
    assert!(left.lines().count() == 1 && left.starts_with("1\tshared.png\t"), "{left}");
    assert_eq!(ada.tintype(&["rm", "1"]).await.status.code(), Some(3), "not permitted");
}

#[tokio::test]
async fn a_new_password_tells_that_the_token_in_the_environment_is_revoked_too() {
    let tintype = Tintype::embedded().await;
    let person = Person::of(&tintype);
    person.told(&["login"]).await;
    let secret = person.told(&["token", "new"]).await;
    let with_token = async |arguments: &[&str]| {
        let mut command = person.command(arguments);
        command.env("TINTYPE_TOKEN", secret.trim_end()).env("TINTYPE_NEW_PASSWORD", "sesame");
        command.output().await.expect("the command line runs")
    };
    let changed = with_token(&["passwd"]).await;
    assert!(changed.status.success(), "{changed:?}");
    let told = String::from_utf8_lossy(&changed.stdout).into_owned();
    assert!(told.contains("TINTYPE_TOKEN") && !told.contains("other"), "{told}");
    // It ends within a second, which may lie between two images of one command.
    while with_token(&["rm", "1"]).await.status.code() != Some(3) {}
    let refused = with_token(&["rm", "1", "2"]).await;
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert_eq!(String::from_utf8_lossy(&refused.stderr).lines().count(), 1, "the second is not even tried: {refused:?}");
}

#[tokio::test]
async fn it_ends_quietly_when_nobody_reads_its_output() {
    let tintype = Tintype::embedded().await;
    let person = Person::of(&tintype);
    person.file("a.png", &pictures::png(8, 8, 1));
    person.told(&["login"]).await;
    person.told(&["upload", "a.png", "--wait"]).await;
    for arguments in [["ls"].as_slice(), &["get", "1", "-o", "-"], &["get", "--all", "-o", "-"]] {
        let (reader, writer) = io::pipe().expect("a pipe can be made");
        drop(reader);
        let started = person.command(arguments).stdout(writer).stderr(Stdio::piped()).spawn().expect("the command line runs");
        let output = started.wait_with_output().await.expect("it ends");
        assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(141), true), "{arguments:?}: {output:?}");
    }
}

/// Runs a program on a terminal of its own and types Ctrl-C once it reads a password without echo; then tells with which code it ended, and
/// whether the terminal echoes again.
const INTERRUPTED: &str = r"
import os, pty, signal, sys, termios
signal.alarm(60)
pid, terminal = pty.fork()
if pid == 0:
    os.execve(sys.argv[1], sys.argv[1:], {'HOME': '/nowhere'})
echoes = lambda: bool(termios.tcgetattr(terminal)[3] & termios.ECHO)
said = b''
while b'password of' not in said:
    said += os.read(terminal, 1024)
while echoes():
    pass
os.write(terminal, b'\x03')
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(code, echoes())
";

#[tokio::test]
async fn ctrl_c_at_the_question_for_a_password_is_an_interrupt() {
    let mut command = Command::new("python3");
    let output = command.args(["-c", INTERRUPTED]).arg(own_binary("tintype")).arg("login").output().await.expect("there is Python");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "130 True\n", "{output:?}");
}
