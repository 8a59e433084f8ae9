use std::{sync::Arc, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use moka::future::Cache;
use sha2::{Digest, Sha256};
use tintype_store::{SignedIn, StoreError, Timestamp, catalog::Catalog};

/// Lets people and secret scanners recognise a token.
const PREFIX: &str = "tt_";
/// How long an answer of the catalog is believed: a revoked token is refused everywhere within a second.
const BELIEVED: Duration = Duration::from_millis(500);
const MAX_CACHED: u64 = 10_000;

/// A new bearer token: `tt_` and 256 random bits in base64url.
pub(crate) fn new_secret() -> String {
    let mut bits = [0; 32];
    getrandom::fill(&mut bits).expect("the system's random source works");
    format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bits))
}

/// The form in which a token is stored and looked up.
pub(crate) fn secret_sha256(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Looks tokens up, and remembers the answers for a moment, "no such token" included.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    catalog: Arc<dyn Catalog>,
    believed: Cache<[u8; 32], Option<Arc<SignedIn>>>,
}

impl Tokens {
    pub(crate) fn new(catalog: Arc<dyn Catalog>) -> Self {
        Self { catalog, believed: Cache::builder().max_capacity(MAX_CACHED).time_to_live(BELIEVED).build() }
    }

    /// Whose token this is, if it is one.
    pub(crate) async fn signed_in(&self, secret: &str) -> Result<Option<Arc<SignedIn>>, Arc<StoreError>> {
        if !secret.starts_with(PREFIX) {
            return Ok(None);
        }
        let digest = secret_sha256(secret);
        let look_up = async { Ok::<_, StoreError>(self.catalog.signed_in(&digest, Timestamp::now()).await?.map(Arc::new)) };
        self.believed.try_get_with(digest, look_up).await
    }
}
