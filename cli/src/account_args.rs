//! What can be said on the command line of users and tokens.

use std::{str::FromStr, time::Duration};

use clap::{ArgGroup, Args as Group, Subcommand, ValueEnum};
use tintype_client::{FailureReason, VerifyRepair};

#[derive(Debug, Group)]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// List tokens, newest first: id, label, scopes, when made, when it ends
    List(TokenList),
    /// Make a token for a program, and print it; this is the only time that it is shown
    New(TokenNew),
    /// Revoke tokens
    Rm(TokenRm),
}

#[derive(Debug, Group)]
pub(crate) struct TokenList {
    /// Tokens of this user instead of one's own; for administrators
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
}

#[derive(Debug, Group)]
pub(crate) struct TokenNew {
    /// What the token is for, to recognise it in the list
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) label: String,
    /// What the token is good for; may be said more than once. Without it: all that the user may do
    #[arg(long, value_enum, value_name = "SCOPE")]
    pub(crate) scope: Vec<ScopeArg>,
    /// How long it is good, as `90s`, `30m`, `12h` or `7d`. Without it: until it is revoked
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) ttl: Option<Duration>,
}

#[derive(Debug, Group)]
pub(crate) struct TokenRm {
    /// Ids of the tokens, as `list` prints them
    #[arg(required = true, value_name = "ID", value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) ids: Vec<i64>,
    /// Tokens of this user instead of one's own; for administrators
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ScopeArg {
    /// To look and to download
    Read,
    /// To upload, change and delete
    Write,
    /// To run the service
    Admin,
}

#[derive(Debug, Group)]
pub(crate) struct Admin {
    #[command(subcommand)]
    pub(crate) command: AdminCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Who may sign in
    #[command(subcommand)]
    Users(UsersCommand),
    /// How much there is, how much waits, what failed, and who works: a line for each number
    Stats,
    /// List failed renditions of all users, the latest first: id, id of the image, owner, file name, what was to be made, how often it was
    /// begun, when it failed, why
    Failures(FailuresList),
    /// Try failed renditions of any users again: prints the id of each that waits again
    Retry(FailuresRetry),
    /// Check that everything is as it was stored, and change nothing that is not named: a line for each finding: what is wrong, id of the image, of the
    /// rendition, key of the blob, what was expected, what was seen, `found` or `repaired`. Exit code 1 when something is left
    Verify(Verify),
}

#[derive(Debug, Group)]
pub(crate) struct Verify {
    /// Also put this right; may be said more than once
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) repair: Vec<RepairArg>,
    /// How many bytes the server reads in a second at most, as `500K` or `100M`. Without it: 32M
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) bytes_per_second: Option<u64>,
    /// Go on with a check that broke off and told this token
    #[arg(long, value_name = "TOKEN")]
    pub(crate) resume: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RepairArg {
    /// Remove blobs, older than 48 hours, that nothing names
    OrphanBlobs,
    /// Make renditions again whose bytes are missing or damaged
    Renditions,
}

impl From<RepairArg> for VerifyRepair {
    fn from(repair: RepairArg) -> Self {
        match repair {
            RepairArg::OrphanBlobs => Self::OrphanBlobs,
            RepairArg::Renditions => Self::Renditions,
        }
    }
}

#[derive(Debug, Group)]
pub(crate) struct FailuresList {
    #[command(flatten)]
    pub(crate) choice: FailureChoice,
    /// At most so many
    #[arg(long, short = 'n', value_name = "NUMBER")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Group)]
#[command(group = ArgGroup::new("which").args(["rendition_ids", "all"]).required(true))]
pub(crate) struct FailuresRetry {
    /// Ids of the renditions, as `failures` prints them
    #[arg(value_name = "RENDITION_ID", value_parser = clap::value_parser!(i64).range(1..), conflicts_with_all = ["reason", "within"])]
    pub(crate) rendition_ids: Vec<i64>,
    /// All that failed, or those of them that `--reason` and `--within` choose
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) choice: FailureChoice,
}

#[derive(Debug, Group)]
pub(crate) struct FailureChoice {
    /// Only what failed for this reason, such as `decoder_timeout`; may be said more than once
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Vec<ReasonArg>,
    /// Only what failed within this time until now, as `90s`, `30m`, `12h` or `7d`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) within: Option<Duration>,
}

/// A reason by its name, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReasonArg(pub(crate) FailureReason);

impl FromStr for ReasonArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = format!("FAILURE_REASON_{}", text.to_ascii_uppercase().replace('-', "_"));
        let known = FailureReason::from_str_name(&name).filter(|reason| *reason != FailureReason::Unspecified);
        known.map(Self).ok_or_else(|| "there is no such reason; `tintype admin stats` prints those of what failed".to_owned())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// List users: id, name, role, `enabled` or `disabled`, bytes stored, bytes allowed, when made
    List,
    /// Add a user; the password is asked for, or in `TINTYPE_NEW_PASSWORD`
    Add(UserAdd),
    /// Change a user
    Set(UserSet),
    /// Delete users with all their images
    Rm(UserRm),
}

#[derive(Debug, Group)]
pub(crate) struct UserAdd {
    /// Name of the new user
    pub(crate) name: String,
    /// What the user may do
    #[arg(long, value_enum, value_name = "ROLE", default_value = "user")]
    pub(crate) role: RoleArg,
    /// How many bytes the user may store, as `500M` or `10G`. Without it: what the server gives new users
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) quota: Option<u64>,
}

#[derive(Debug, Group)]
#[command(group = ArgGroup::new("change").args(["role", "disable", "enable", "quota", "password"]).required(true).multiple(true))]
pub(crate) struct UserSet {
    /// Name of the user
    pub(crate) name: String,
    /// What the user may do
    #[arg(long, value_enum, value_name = "ROLE")]
    pub(crate) role: Option<RoleArg>,
    /// Keep the user out
    #[arg(long, conflicts_with = "enable")]
    pub(crate) disable: bool,
    /// Let the user in again
    #[arg(long)]
    pub(crate) enable: bool,
    /// How many bytes the user may store, as `500M` or `10G`
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) quota: Option<u64>,
    /// Give the user a new password, asked for or in `TINTYPE_NEW_PASSWORD`; revokes all tokens of the user
    #[arg(long)]
    pub(crate) password: bool,
}

#[derive(Debug, Group)]
pub(crate) struct UserRm {
    /// Names of the users
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleArg {
    /// Works with the own images
    User,
    /// Also runs the service
    Admin,
}

/// `90s`, `30m`, `12h` or `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    counted(text, &units).map(Duration::from_secs).ok_or_else(|| "say it as 90s, 30m, 12h or 7d".to_owned())
}

/// A number of bytes, with a unit of 1,024 or one of its powers.
fn bytes(text: &str) -> Result<u64, String> {
    let units = [("", 1), ("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];
    counted(text, &units).ok_or_else(|| "say it as a number of bytes, or as 500M or 10G".to_owned())
}

fn counted(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let (_, factor) = units.iter().find(|(unit, _)| unit.eq_ignore_ascii_case(&text[digits.len()..]))?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_hours(168)));
        assert!(["", "7", "d", "-1d", "1w", "99999999999999999999d"].iter().all(|bad| duration(bad).is_err()));
        assert_eq!((bytes("0"), bytes("500m"), bytes("10G")), (Ok(0), Ok(500 << 20), Ok(10 << 30)));
        assert!(["", "G", "1.5G", "10GB", "20000000T"].iter().all(|bad| bytes(bad).is_err()));
    }

    #[test]
    fn reasons_are_known_by_their_names() {
        for text in ["decoder_timeout", "DECODER_TIMEOUT", "decoder-timeout"] {
            assert_eq!(text.parse(), Ok(ReasonArg(FailureReason::DecoderTimeout)));
        }
        assert!(["", "unspecified", "timeout"].iter().all(|bad| bad.parse::<ReasonArg>().is_err()));
    }

    #[test]
    fn a_retry_names_what_it_means() {
        let parses = |line: &str| Args::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("tintype admin retry 1 2") && parses("tintype admin retry --all --reason decoder_crash --within 1h"));
        for bad in ["", " --reason decoder_crash", " 1 --all", " 1 --reason decoder_crash", " 0"] {
            assert!(!parses(&format!("tintype admin retry{bad}")), "{bad}");
        }
    }

    #[test]
    fn a_change_changes_something() {
        assert!(Args::try_parse_from(["tintype", "admin", "users", "set", "ada"]).is_err());
        assert!(Args::try_parse_from(["tintype", "admin", "users", "set", "ada", "--enable", "--disable"]).is_err());
        assert!(Args::try_parse_from(["tintype", "admin", "users", "set", "ada", "--disable", "--quota", "1G"]).is_ok());
    }
}
