//! One file for each command.

mod completions;
mod get;
mod login;
mod logout;
mod ls;
mod retry;
mod rm;
mod show;
mod upload;
mod watch;

use std::process::ExitCode;

use tintype_client::{Client, ClientBuilder};

use crate::{
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
        Command::Upload(upload) => return upload::run(&common, upload).await,
        Command::Ls(ls) => ls::run(&common, ls).await?,
        Command::Show(show) => show::run(&common, &show).await?,
        Command::Get(get) => get::run(&common, get).await?,
        Command::Rm(rm) => return rm::run(&common, rm).await,
        Command::Retry(retry) => return retry::run(&common, retry).await,
        Command::Watch(watch) => watch::run(&common, watch).await?,
        Command::Completions(completions) => completions::run(&completions)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A client with the token of the environment, or the one that `login` keeps.
fn signed_in(common: &Common) -> anyhow::Result<Client> {
    Ok(builder(common)?.build()?)
}

fn builder(common: &Common) -> anyhow::Result<ClientBuilder> {
    let token = match environment::token()? {
        Some(token) => Some(token),
        None => Credentials::of_user()?.token(&common.server)?,
    };
    let token = token.ok_or(NotSignedIn)?;
    Ok(Client::builder(&common.server).token(token).user_agent(USER_AGENT))
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
            Err(error) => {
                let code = exit::code(&error);
                if [exit::OUTPUT_CLOSED, exit::NOT_SIGNED_IN, exit::UNAVAILABLE].contains(&code) {
                    return Err(error);
                }
                exit::tell(&error);
                self.failures.push(code);
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
