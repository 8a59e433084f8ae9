//! Users, tokens and passwords from the command line.

use std::process::Output;

use tintype_tests::{ADMIN_PASSWORD, Tintype, own_binary};
use tokio::process::Command;

/// The command line of one person: a home folder of its own.
struct Person<'a> {
    tintype: &'a Tintype,
    home: tempfile::TempDir,
}

impl<'a> Person<'a> {
    fn new(tintype: &'a Tintype) -> Self {
        Self { tintype, home: tempfile::tempdir().expect("a temporary folder") }
    }

    async fn run(&self, arguments: &str, environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(own_binary("tintype"));
        command.env_clear().env("HOME", self.home.path()).env("TINTYPE_SERVER", &self.tintype.grpc_url);
        command.envs(environment.iter().copied()).args(arguments.split(' ')).output().await.expect("it runs")
    }

    /// What it prints when it goes well.
    async fn says(&self, arguments: &str, environment: &[(&str, &str)]) -> String {
        let output = self.run(arguments, environment).await;
        assert!(output.status.success(), "{arguments}: {output:?}");
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }

    /// The code that it ends with when it does not.
    async fn fails(&self, arguments: &str, environment: &[(&str, &str)]) -> Option<i32> {
        let output = self.run(arguments, environment).await;
        assert!(!output.status.success() && !output.stderr.is_empty(), "{arguments}: {output:?}");
        output.status.code()
    }
}

fn column(table: &str, number: usize) -> Vec<&str> {
    table.lines().map(|line| line.split('\t').nth(number).expect("a column")).collect()
}

#[tokio::test]
async fn people_keep_users_tokens_and_passwords_on_the_command_line() {
    let tintype = Tintype::embedded().await;
    let admin = Person::new(&tintype);
    admin.says("login", &[("TINTYPE_PASSWORD", ADMIN_PASSWORD)]).await;

    let added = admin.says("admin users add ada --quota 5M", &[("TINTYPE_NEW_PASSWORD", "sesame")]).await;
    assert_eq!((column(&added, 1), column(&added, 2), column(&added, 5)), (vec!["ada"], vec!["user"], vec!["5242880"]));
    assert_eq!(admin.fails("admin users add ada", &[("TINTYPE_NEW_PASSWORD", "x")]).await, Some(1));
    let set = admin.says("admin users set ada --disable --quota 1G", &[]).await;
    assert_eq!((column(&set, 3), column(&set, 5)), (vec!["disabled"], vec!["1073741824"]));
    let ada = Person::new(&tintype);
    assert_eq!(ada.fails("login --user ada", &[("TINTYPE_PASSWORD", "sesame")]).await, Some(3));
    admin.says("admin users set ada --enable", &[]).await;
    ada.says("login --user ada", &[("TINTYPE_PASSWORD", "sesame")]).await;
    assert_eq!(ada.fails("admin users list", &[]).await, Some(3));
    assert_eq!(column(&admin.says("admin users list", &[]).await, 1), ["admin", "ada"]);
    assert_eq!(admin.fails("admin users rm nobody", &[]).await, Some(4));

    let secret = ada.says("token new --label ci --scope read --ttl 1h", &[("TINTYPE_PASSWORD", "sesame")]).await;
    assert!(secret.starts_with("tt_") && !secret.contains(char::is_whitespace), "{secret}");
    ada.says("ls", &[("TINTYPE_TOKEN", &secret)]).await;
    assert_eq!(ada.fails("rm 1", &[("TINTYPE_TOKEN", &secret)]).await, Some(3));
    let tokens = ada.says("token list", &[]).await;
    assert_eq!((column(&tokens, 1), column(&tokens, 2)), (vec!["ci", ""], vec!["read", "all"]));
    assert_eq!(admin.says("token list --user ada", &[]).await, tokens);
    ada.says(&format!("token rm {}", column(&tokens, 0)[0]), &[]).await;
    assert_eq!(column(&ada.says("token list", &[]).await, 2), ["all"]);
    assert_eq!(ada.fails("token rm 4711", &[]).await, Some(4));

    let passwords = [("TINTYPE_PASSWORD", "sesame"), ("TINTYPE_NEW_PASSWORD", "open")];
    ada.says("passwd", &passwords).await;
    ada.says("ls", &[]).await;
    assert_eq!(column(&ada.says("token list", &[]).await, 2), ["all"], "one new token instead of the old one");
    assert_eq!(ada.fails("passwd", &passwords).await, Some(3));

    let users = admin.says("admin users list --output json", &[]).await;
    assert!(users.lines().all(|line| line.starts_with('{') && line.contains(r#""quota_bytes":""#)), "{users}");
    admin.says("admin users rm ada", &[]).await;
    assert_eq!(column(&admin.says("admin users list", &[]).await, 1), ["admin"]);
}
