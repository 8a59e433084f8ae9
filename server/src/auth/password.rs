use std::{num::NonZero, sync::Arc, thread, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tintype_proto::v1::ErrorReason;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task,
    time::timeout,
};

use crate::status::Refusal;

/// The admin's password where none is set, for development only: refused on any address but loopback.
pub(crate) const DEVELOPMENT_PASSWORD: &str = "Admin555";

/// Memory of one hash in KiB: 19 MiB (OWASP Password Storage Cheat Sheet, Argon2id with t=2, p=1).
const MEMORY_KIB: u32 = 19 * 1024;
const ITERATIONS: u32 = 2;
/// How long a sign-in waits for its turn.
const MAX_QUEUE: Duration = Duration::from_secs(5);

/// Hashes and checks passwords, a few at a time: each takes 19 MiB and tens of milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    /// Hash of no one's password, checked when there is no such user, so that the answer takes as long.
    nobody: Arc<str>,
}

impl Passwords {
    pub(crate) fn new() -> Result<Self, Refusal> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let nobody = hash(&crate::auth::new_secret())?;
        Ok(Self { turns: Arc::new(Semaphore::new(cores)), nobody: nobody.into() })
    }

    /// The password as a PHC string.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Refusal> {
        self.turn().await?.take(move || hash(&password)).await?
    }

    /// Waits for a turn to hash or check one password.
    pub(crate) async fn turn(&self) -> Result<Turn, Refusal> {
        match timeout(MAX_QUEUE, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(permit) => Ok(Turn { permit: permit.map_err(|error| Refusal::internal(&error))?, nobody: Arc::clone(&self.nobody) }),
            Err(_) => Err(Refusal::new(ErrorReason::TooManyRequests, "too many sign-ins at once").retry_after(MAX_QUEUE)),
        }
    }
}

/// The right to hash or check one password now.
#[derive(Debug)]
pub(crate) struct Turn {
    permit: OwnedSemaphorePermit,
    nobody: Arc<str>,
}

impl Turn {
    /// Whether this is the password of that hash; `None` for no such user. Takes equally long in every case.
    pub(crate) async fn verify(self, password: String, password_hash: Option<String>) -> Result<bool, Refusal> {
        let nobody = Arc::clone(&self.nobody);
        self.take(move || {
            let known = password_hash.is_some();
            let password_hash = password_hash.unwrap_or_else(|| nobody.to_string());
            let parsed = PasswordHash::new(&password_hash).map_err(|error| Refusal::internal(&error))?;
            Ok(argon2()?.verify_password(password.as_bytes(), &parsed).is_ok() && known)
        })
        .await?
    }

    async fn take<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
        let permit = self.permit;
        task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .map_err(|error| Refusal::internal(&error))
    }
}

fn hash(password: &str) -> Result<String, Refusal> {
    let hash = argon2()?.hash_password(password.as_bytes()).map_err(|error| Refusal::internal(&error))?;
    Ok(hash.to_string())
}

fn argon2() -> Result<Argon2<'static>, Refusal> {
    let params = Params::new(MEMORY_KIB, ITERATIONS, 1, None).map_err(|error| Refusal::internal(&error))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_is_taken() {
        let passwords = Passwords::new().expect("argon2 works");
        let hash = passwords.hash("right".to_owned()).await.expect("hashes");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.turn().await.expect("a turn").verify("right".to_owned(), Some(hash.clone())).await.expect("verifies"));
        assert!(!passwords.turn().await.expect("a turn").verify("wrong".to_owned(), Some(hash)).await.expect("verifies"));
        assert!(!passwords.turn().await.expect("a turn").verify("right".to_owned(), None).await.expect("verifies"));
    }
}
