use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Allows this process as many open files and connections as the system lets it have: what a shell gives is often 1,024, fewer than a server's
/// connections.
pub fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => debug!(?current, ?maximum, "raised the limit of open files"),
        Err(error) => warn!(%error, ?current, "the limit of open files stays"),
    }
}
