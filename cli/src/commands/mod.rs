//! One file for each command.

mod cancel;
mod completions;
mod edit;
mod failures;
mod get;
mod get_many;
mod link;
mod login;
mod logout;
mod ls;
mod passwd;
mod render;
mod retry;
mod rm;
mod share;
mod show;
mod stats;
mod token;
mod upload;
mod users;
mod verify;
mod watch;

use std::{future, io, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use tintype_client::{Client, ClientBuilder, RetryPolicy, TlsOptions};
use tokio::task::spawn_blocking;
pub(crate) use users::NoSuchUser;

use crate::{
    account_args::AdminCommand,
    args::{Args, Command, Common},
    credentials::Credentials,
    environment,
    exit::{self, NotSignedIn},
};

const USER_AGENT: &str = concat!("tintype-cli/", env!("CARGO_PKG_VERSION"));

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let common = args.common;
    match args.command {
        Command::Login(login) => login::run(&common, login).await?,
        Command::Logout => logout::run(&common)?,
        Command::Upload(upload) if upload.cancel => return cancel::run(&common, upload).await,
        Command::Upload(upload) => return upload::run(&common, upload).await,
        Command::Ls(ls) => ls::run(&common, ls).await?,
        Command::Show(show) => show::run(&common, &show).await?,
        Command::Get(get) if get.all || get.ids.len() > 1 => return get_many::run(&common, get).await,
        Command::Get(get) => get::run(&common, get).await?,
        Command::Render(render) => render::run(&common, render).await?,
        Command::Edit(edit) => edit::run(&common, edit).await?,
        Command::Rm(rm) => return rm::run(&common, rm).await,
        Command::Share(share) => share::share(&common, share).await?,
        Command::Unshare(unshare) => share::unshare(&common, unshare).await?,
        Command::Link(link) => link::run(&common, link).await?,
        Command::Retry(retry) => return retry::run(&common, retry).await,
        Command::Watch(watch) => watch::run(&common, watch).await?,
        Command::Completions(completions) => completions::run(&completions)?,
        Command::Passwd => passwd::run(&common).await?,
        Command::Token(token) => return token::run(&common, token).await,
        Command::Admin(admin) => match admin.command {
            AdminCommand::Users(command) => return users::run(&common, command).await,
            AdminCommand::Stats => stats::run(&common).await?,
            AdminCommand::Failures(list) => failures::list(&common, list).await?,
            AdminCommand::Verify(verify) => return verify::run(&common, verify).await,
            AdminCommand::Retry(retry) => return failures::retry(&common, retry).await,
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// How long somebody at a terminal waits to hear that the server is away.
const PATIENCE: Duration = Duration::from_secs(2);

/// A client that tells soon when the server is away.
fn client(common: &Common) -> ClientBuilder {
    let mut tls = TlsOptions::new();
    if let Some(ca) = &common.tls_ca {
        tls = tls.ca_pem(ca.0.clone());
    }
    if let (Some(cert), Some(key)) = (&common.tls_client_cert, &common.tls_client_key) {
        tls = tls.client_identity(cert.0.clone(), key.0.clone());
    }
    Client::builder(&common.server).user_agent(USER_AGENT).retry(RetryPolicy::default().max_total(PATIENCE)).tls(tls)
}

/// The same with the token of the environment, or the one that `login` keeps.
fn signed_in(common: &Common) -> anyhow::Result<ClientBuilder> {
    let token = match environment::token()? {
        Some(token) => Some(token),
        None => Credentials::of_user()?.token(&common.server)?,
    };
    let token = token.ok_or(NotSignedIn)?;
    Ok(client(common).token(token))
}

/// The password that the user has: from the environment, or asked for.
async fn current_password(user: &str, server: &str) -> anyhow::Result<String> {
    match environment::password()? {
        Some(password) => Ok(password),
        None => ask(format!("password of {user} at {server}: "), "TINTYPE_PASSWORD").await,
    }
}

/// A password to set: from the environment, or asked for twice.
async fn new_password(user: &str) -> anyhow::Result<String> {
    const VARIABLE: &str = "TINTYPE_NEW_PASSWORD";
    if let Some(password) = environment::new_password()? {
        return Ok(password);
    }
    let password = ask(format!("new password of {user}: "), VARIABLE).await?;
    if ask("the same again: ".to_owned(), VARIABLE).await? != password {
        bail!("the two are not the same");
    }
    Ok(password)
}

async fn ask(prompt: String, variable: &str) -> anyhow::Result<String> {
    match spawn_blocking(move || rpassword::prompt_password(prompt)).await? {
        // The prompt has made a signal of the Ctrl-C that it read, and that ends the process with its own code.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => future::pending().await,
        asked => asked.with_context(|| format!("cannot ask for the password; {variable} can hold it")),
    }
}

/// The exit code of several things done one after the other: that of the failure if there was only one thing to do.
#[derive(Debug, Default)]
struct Tally {
    done: usize,
    failures: Vec<u8>,
}

impl Tally {
    /// Counts a result and tells a failure on stderr. Gives an error back only where going on makes no sense.
    fn count(&mut self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        match result {
            Ok(()) => self.done += 1,
            Err(error) if exit::ends_all(&error) => return Err(error),
            Err(error) => {
                exit::tell(&error);
                self.failures.push(exit::code(&error));
            }
        }
        Ok(())
    }

    fn exit_code(&self) -> ExitCode {
        match (self.done, self.failures.as_slice()) {
            (_, []) => ExitCode::SUCCESS,
            (0, [only]) => ExitCode::from(*only),
            _ => ExitCode::from(exit::FAILED),
        }
    }
}
