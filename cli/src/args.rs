//! What can be said on the command line. `--help` is the reference.

use std::{path::PathBuf, time::Duration};

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tintype_client::Format;

use crate::{
    account_args::{Admin, Token, duration},
    edit_args::{Edit, Render, SpecArgs, label},
    pem::Pem,
};

const AFTER_HELP: &str = "\
Environment:
  TINTYPE_TOKEN     Token to send instead of the one that `login` keeps
  TINTYPE_PASSWORD  Password for `login`, `passwd` and `token new` instead of asking for it
  TINTYPE_NEW_PASSWORD
                    Password to set with `passwd` and `admin users` instead of asking for it

Exit codes:
    0  all done
    1  something failed; with several files or ids, at least one of them, and the others went on
    2  the command line makes no sense
    3  not signed in, sign-in refused, or not permitted
    4  not found
    5  the server cannot be reached or cannot serve now
  130  interrupted (128 and the number of the signal)
  141  nobody reads the output any more";

/// Stores images, makes them in other formats and brings them back.
#[derive(Debug, Parser)]
#[command(name = "tintype", version, after_help = AFTER_HELP, propagate_version = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Group)]
pub(crate) struct Common {
    /// The server, `http://…` or `https://…`
    #[arg(long, global = true, env = "TINTYPE_SERVER", value_name = "URL", default_value = "http://127.0.0.1:50051")]
    pub(crate) server: String,
    /// PEM file with the authorities that the server's certificate may come from. Default: those that the system trusts
    #[arg(long, global = true, env = "TINTYPE_TLS_CA", value_name = "FILE", value_parser = Pem::read, help_heading = "TLS")]
    pub(crate) tls_ca: Option<Pem>,
    /// PEM file with the certificate chain to show to a server that asks for one
    #[arg(long, global = true, env = "TINTYPE_TLS_CLIENT_CERT", value_name = "FILE", value_parser = Pem::read, requires = "tls_client_key", help_heading = "TLS")]
    pub(crate) tls_client_cert: Option<Pem>,
    /// PEM file with the private key of that certificate
    #[arg(long, global = true, env = "TINTYPE_TLS_CLIENT_KEY", value_name = "FILE", value_parser = Pem::read, requires = "tls_client_cert", help_heading = "TLS")]
    pub(crate) tls_client_key: Option<Pem>,
    /// How results are printed: tab separated text, or one JSON object a line
    #[arg(long, global = true, value_enum, value_name = "KIND", default_value = "text")]
    pub(crate) output: OutputKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputKind {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign in, and keep the token in the user's config folder
    Login(Login),
    /// Forget the token kept for the server
    Logout,
    /// Store files: prints a line as each is done, with its id, base name and state (`pending`, `ready` or `failed`). A large file whose upload was
    /// cut off, even by the end of this program, goes on where it was when the same file is uploaded again within the server's time for that
    Upload(Upload),
    /// List images, newest first
    Ls(Ls),
    /// Tell everything about one image
    Show(Show),
    /// Download images in the format asked for; a rendition that a single image never had is asked for and waited for
    Get(Get),
    /// Ask for an image in a format, in any size and quality, made in the background: prints the rendition's id, file name, state and spec
    Render(Render),
    /// Change the file name or the labels of an image
    Edit(Edit),
    /// Delete images with all their renditions
    Rm(Rm),
    /// Let others see an image, or tell who sees it: prints a line for each share with a user's name or `everyone`, the role and the time. A name
    /// that nobody has is taken like any other
    Share(ShareWith),
    /// Let others see an image no more
    Unshare(Unshare),
    /// Print a link at which anybody gets an image without an account, until it ends
    Link(Link),
    /// Try failed renditions again
    Retry(Retry),
    /// Show what happens to images until interrupted: a line for each change with its id, file name, what changed (`exists` for what is there
    /// at the beginning) and state; a live table where standard output is a terminal
    Watch(Watch),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Change one's own password, which revokes all tokens
    Passwd,
    /// Tokens for programs
    Token(Token),
    /// Run the service; for administrators
    Admin(Admin),
}

#[derive(Debug, Group)]
pub(crate) struct Login {
    /// Name of the user
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub(crate) user: String,
}

#[derive(Debug, Group)]
pub(crate) struct Upload {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Print each line only when all renditions of the image are ready or have failed; one that failed counts as a failure
    #[arg(long)]
    pub(crate) wait: bool,
    /// A label for each image; may be said more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// Take all files in folders, and in the folders within
    #[arg(long, short)]
    pub(crate) recursive: bool,
    /// Send nothing, but give up the uploads of these files that an earlier run began and did not finish, and free the room they take
    #[arg(long, conflicts_with_all = ["wait", "label", "direct"])]
    pub(crate) cancel: bool,
    /// Send each file by a signed URL: to the bucket itself where the server has one. Each is read twice
    #[arg(long)]
    pub(crate) direct: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Link {
    /// Id of the image
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) id: i64,
    /// The format wanted; jpeg if it is not said
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// How long the link is good, up to 7d: 90s, 30m, 12h or 7d
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "15m")]
    pub(crate) expires: Duration,
}

#[derive(Debug, Group)]
pub(crate) struct Ls {
    /// Whose images: one's own, those that others share, or both
    #[arg(long, value_enum, value_name = "WHOSE", default_value = "me")]
    pub(crate) owner: Whose,
    /// Only images whose original has this format; may be said more than once
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Vec<Format>,
    /// Only images with a rendition in this state; may be said more than once
    #[arg(long, value_enum, value_name = "STATE")]
    pub(crate) state: Vec<State>,
    /// Only images whose file name contains this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Only images with this label; may be said more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// At most so many
    #[arg(long, short = 'n', value_name = "NUMBER")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Whose {
    Me,
    Others,
    Anyone,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum State {
    Pending,
    Running,
    Ready,
    Failed,
}

#[derive(Debug, Group)]
pub(crate) struct Show {
    /// Id of the image
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) id: i64,
}

#[derive(Debug, Group)]
pub(crate) struct Get {
    /// Ids of the images; several go into a folder or an archive
    #[arg(required_unless_present = "all", value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) ids: Vec<i64>,
    /// All images of the user
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    /// The format wanted; jpeg if it is not said
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// The image as it was uploaded, whatever its format
    #[arg(long, conflicts_with_all = ["format", "SpecArgs"])]
    pub(crate) original: bool,
    /// Where to write it: a file, which is replaced if it is there, a folder, or `-` for standard output. Without it, a file in the
    /// current folder is named after the uploaded one. Several images, or all, go into a folder, or into an archive if this ends with `.zip`
    /// or `.tar`; what could not be included is named on standard error, or in the archive's `manifest.json`
    #[arg(long = "out", short = 'o', value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Replace a file that is there also when its name was not given
    #[arg(long, short)]
    pub(crate) force: bool,
    /// Wait for a rendition that is still being made
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) spec: SpecArgs,
}

#[derive(Debug, Group)]
pub(crate) struct Rm {
    /// Ids of the images
    #[arg(required = true, value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) ids: Vec<i64>,
}

#[derive(Debug, Group)]
pub(crate) struct ShareWith {
    /// Id of the image
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) id: i64,
    /// The user who is to see it
    #[arg(long, value_name = "USER", group = "party")]
    pub(crate) with: Option<String>,
    /// Every signed-in user is to see it
    #[arg(long, group = "party")]
    pub(crate) everyone: bool,
    /// They may also have renditions made and change what is said of it
    #[arg(long, requires = "party")]
    pub(crate) editor: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Unshare {
    /// Id of the image
    #[arg(value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) id: i64,
    /// The user who is not to see it any more
    #[arg(long, value_name = "USER", conflicts_with = "everyone", required_unless_present = "everyone")]
    pub(crate) with: Option<String>,
    /// Not every signed-in user is to see it any more
    #[arg(long)]
    pub(crate) everyone: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Retry {
    /// Ids of the renditions, as `show` prints them
    #[arg(required = true, value_name = "RENDITION_ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) rendition_ids: Vec<i64>,
}

#[derive(Debug, Group)]
pub(crate) struct Watch {
    /// Ids of the images; all images of the user and all that are shared with the user by name, also future ones, when there is none
    #[arg(value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) ids: Vec<i64>,
    /// Go on after the event with this `resume_token`, which `--output json` prints, instead of beginning with what is there
    #[arg(long, value_name = "TOKEN")]
    pub(crate) resume: Option<String>,
}

#[derive(Debug, Group)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn settings_may_stand_before_or_after_the_command() {
        for line in ["tintype --server http://a:1 --output json ls", "tintype ls --output json --server http://a:1"] {
            let args = Args::try_parse_from(line.split(' ')).unwrap();
            assert_eq!((args.common.server.as_str(), args.common.output), ("http://a:1", OutputKind::Json));
        }
    }

    #[test]
    fn a_share_is_with_one_party_and_an_editor_is_somebody() {
        for bad in ["share 1 --with ada --everyone", "share 1 --editor", "unshare 1", "unshare 1 --with ada --everyone"] {
            assert!(Args::try_parse_from(["tintype"].into_iter().chain(bad.split(' '))).is_err(), "{bad}");
        }
        for good in ["share 1", "share 1 --with ada --editor", "share 1 --everyone", "unshare 1 --everyone"] {
            assert!(Args::try_parse_from(["tintype"].into_iter().chain(good.split(' '))).is_ok(), "{good}");
        }
    }

    #[test]
    fn ids_count_from_one() {
        assert!(Args::try_parse_from(["tintype", "rm", "0"]).is_err());
        assert!(Args::try_parse_from(["tintype", "show", "cat"]).is_err());
        assert!(Args::try_parse_from(["tintype", "upload"]).is_err());
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        for line in [
            "tintype get 1 --original --width 3",
            "tintype get 1 --original --format png",
            "tintype render 1",
            "tintype render 1 --format webp --lossless --quality 3",
            "tintype edit 1",
            "tintype edit 1 --label =x",
            "tintype edit 1 --label x",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
        for line in ["tintype get 1 --width 3", "tintype render 1 --format jpg --fit cover --effort small", "tintype edit 1 --label x=a=b"]
        {
            assert!(Args::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }
}
