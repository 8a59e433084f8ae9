//! Links that this service signs and knows again: whoever has one may do the one thing that it is for, until it ends.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use axum::http::{Method, Uri};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tintype_proto::v1::ErrorReason;
use tintype_store::{LinkKey, StoreError, Timestamp, catalog::Catalog};

use crate::{http::Query, limits::Limits, status::Refusal};

/// How long a key signs.
const DAY: Duration = Duration::from_hours(24);
/// How far the clocks of two servers may be apart, counted in days.
const SKEW_DAYS: i64 = 1;
const SIGNATURE: &str = "&signature=";

/// Signs links and knows them again, also those of other servers: the keys are in the catalog, one for each day.
#[derive(Debug)]
pub(crate) struct Links {
    catalog: Arc<dyn Catalog>,
    /// Where clients find the HTTP port. Set once that listens, at the latest.
    base: OnceLock<String>,
    /// Keys never change.
    keys: Mutex<HashMap<i64, LinkKey>>,
    /// Ids of links by which a file is just coming to this server.
    receiving: Arc<Mutex<HashSet<String>>>,
}

/// The file of a link is coming, as long as this lives.
#[derive(Debug)]
pub(crate) struct Receiving {
    all: Arc<Mutex<HashSet<String>>>,
    id: String,
}

impl Links {
    /// `public_url` is where clients find the HTTP port, if that is not where it listens.
    pub(crate) fn new(catalog: Arc<dyn Catalog>, public_url: Option<String>) -> Self {
        let base = public_url.map_or_else(OnceLock::new, OnceLock::from);
        Self { catalog, base, keys: Mutex::default(), receiving: Arc::default() }
    }

    /// Where the HTTP port listens: what links begin with, unless something else was said.
    pub(crate) fn listens_at(&self, url: String) {
        let _ = self.base.set(url);
    }

    /// The link to `place`, a path and the beginning of a query, for one method, until `end`, which is a whole second.
    pub(crate) async fn sign(&self, method: &Method, place: &str, end: Timestamp, now: Timestamp) -> Result<String, Refusal> {
        let key = self.signing_key(now).await?;
        let signed = format!("{place}&expires={}&key={}", end.0 / 1_000_000, key.id);
        let signature = BASE64URL_NOPAD.encode(&mac(&key, method, &signed).finalize().into_bytes());
        let base = self.base.get().map_or("", String::as_str);
        Ok(format!("{base}{signed}{SIGNATURE}{signature}"))
    }

    /// What the link in `uri` says, if it was signed here for this method, letter by letter, and has not ended.
    pub(crate) async fn verify(&self, method: &Method, uri: &Uri, now: Timestamp) -> Result<Query, Refusal> {
        let invalid = || Refusal::new(ErrorReason::LinkInvalid, "the link is not one of this service, or not whole");
        let text = uri.path_and_query().map_or("", |text| text.as_str());
        let (signed, signature) = text.rsplit_once(SIGNATURE).ok_or_else(invalid)?;
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| invalid())?;
        let query = Query::of(uri);
        let number = |name| query.value(name).ok().flatten().and_then(|text| text.parse::<i64>().ok()).ok_or_else(invalid);
        let (key, expires) = (number("key")?, number("expires")?);
        let key = self.key(key, now).await?.ok_or_else(invalid)?;
        // Takes as long for any signature.
        mac(&key, method, signed).verify_slice(&signature).map_err(|_| invalid())?;
        let end = Timestamp(expires.saturating_mul(1_000_000));
        if now >= end {
            let seconds = now.since(end).as_secs();
            let refusal = Refusal::new(ErrorReason::LinkExpired, format!("the link ended {seconds} s ago"));
            return Err(refusal.with("expired_seconds", seconds));
        }
        Ok(query)
    }

    /// Takes the one place for the file of a link to come to this server; `None` while it is just coming.
    pub(crate) fn receiving(&self, id: &str) -> Option<Receiving> {
        let is_first = unpoisoned(&self.receiving).insert(id.to_owned());
        is_first.then(|| Receiving { all: Arc::clone(&self.receiving), id: id.to_owned() })
    }

    /// Today's key.
    async fn signing_key(&self, now: Timestamp) -> Result<LinkKey, StoreError> {
        let id = day(now);
        if let Some(key) = self.known(id) {
            return Ok(key);
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).expect("the system's random source works");
        let expires_at = now.plus(DAY + Limits::MAX_DOWNLOAD_LINK_TTL);
        let key = self.catalog.make_link_key(&LinkKey { id, secret, expires_at }).await?;
        self.keep(&key, now);
        Ok(key)
    }

    /// The key of a link; `None` for one that no link can have which is still good.
    async fn key(&self, id: i64, now: Timestamp) -> Result<Option<LinkKey>, StoreError> {
        if !good_days(now).contains(&id) {
            return Ok(None);
        }
        if let Some(key) = self.known(id) {
            return Ok(Some(key));
        }
        let key = self.catalog.link_key(id).await?;
        if let Some(key) = &key {
            self.keep(key, now);
        }
        Ok(key)
    }

    fn known(&self, id: i64) -> Option<LinkKey> {
        unpoisoned(&self.keys).get(&id).cloned()
    }

    fn keep(&self, key: &LinkKey, now: Timestamp) {
        let mut keys = unpoisoned(&self.keys);
        keys.retain(|id, _| good_days(now).contains(id));
        keys.insert(key.id, key.clone());
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        unpoisoned(&self.all).remove(&self.id);
    }
}

fn day(now: Timestamp) -> i64 {
    now.0.div_euclid(DAY.as_micros() as i64)
}

/// The days whose keys may have signed a link that has not ended.
fn good_days(now: Timestamp) -> std::ops::RangeInclusive<i64> {
    day(now.minus(Limits::MAX_DOWNLOAD_LINK_TTL)) - SKEW_DAYS..=day(now) + SKEW_DAYS
}

fn mac(key: &LinkKey, method: &Method, signed: &str) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(&key.secret).expect("a key of any length will do");
    mac.chain_update(method.as_str()).chain_update("\n").chain_update(signed)
}

/// Both are whole between any two of their changes.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tintype_store::catalog::{Upkeep, sqlite::Sqlite};
    use tonic::Status;
    use tonic_types::StatusExt;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    struct World {
        _folder: tempfile::TempDir,
        catalog: Arc<Sqlite>,
    }

    impl World {
        async fn new() -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder can be made");
            let catalog = Sqlite::open(&folder.path().join("catalog.db")).await.expect("a new catalog");
            Self { _folder: folder, catalog: Arc::new(catalog) }
        }

        /// One of several servers.
        fn links(&self) -> Links {
            Links::new(self.catalog.clone(), Some("https://example.org".to_owned()))
        }
    }

    async fn signed(links: &Links, ttl: Duration) -> String {
        let link = links.sign(&Method::GET, "/d/40?format=png&user=7", NOW.plus(ttl), NOW).await.expect("it is signed");
        link.strip_prefix("https://example.org").expect("it begins with the public URL").to_owned()
    }

    async fn verdict(links: &Links, method: &Method, link: &str, now: Timestamp) -> String {
        let uri: Uri = link.parse().expect("a URL");
        match links.verify(method, &uri, now).await {
            Ok(query) => query.value("format").expect("given once").unwrap_or_default().to_owned(),
            Err(refusal) => Status::from(refusal).get_error_details().error_info().expect("info").reason.clone(),
        }
    }

    #[tokio::test]
    async fn a_link_is_good_on_every_server_until_it_ends() {
        let world = World::new().await;
        let (one, other) = (world.links(), world.links());
        let link = signed(&one, SECOND * 10).await;
        for links in [&one, &other] {
            assert_eq!(verdict(links, &Method::GET, &link, NOW).await, "png");
            assert_eq!(verdict(links, &Method::GET, &link, NOW.plus(SECOND * 9)).await, "png");
            assert_eq!(verdict(links, &Method::GET, &link, NOW.plus(SECOND * 10)).await, "LINK_EXPIRED");
        }
    }

    #[tokio::test]
    async fn a_link_that_was_altered_anywhere_is_none() {
        let world = World::new().await;
        let links = world.links();
        let link = signed(&links, SECOND * 10).await;
        for index in 1..link.len() {
            let mut altered = link.clone().into_bytes();
            altered[index] = if altered[index] == b'5' { b'6' } else { b'5' };
            let altered = String::from_utf8(altered).expect("ASCII");
            assert_eq!(verdict(&links, &Method::GET, &altered, NOW).await, "LINK_INVALID", "{altered}");
        }
        for other in [format!("{link}&x=y"), link[..link.len() - 1].to_owned(), "/d/40".to_owned(), format!("{link}A")] {
            assert_eq!(verdict(&links, &Method::GET, &other, NOW).await, "LINK_INVALID", "{other}");
        }
        assert_eq!(verdict(&links, &Method::PUT, &link, NOW).await, "LINK_INVALID", "for another method");
        let strange = World::new().await;
        assert_eq!(verdict(&strange.links(), &Method::GET, &link, NOW).await, "LINK_INVALID", "of another service");
    }

    #[tokio::test]
    async fn keys_change_every_day_and_old_ones_hold_until_their_links_end() {
        let world = World::new().await;
        let links = world.links();
        let ttl = Limits::MAX_DOWNLOAD_LINK_TTL;
        let link = signed(&links, ttl).await;
        let tomorrow = NOW.plus(DAY);
        let later = links.sign(&Method::GET, "/d/40?format=png", tomorrow.plus(SECOND), tomorrow).await.expect("it is signed");
        let key = |link: &str| link.split_once("&key=").and_then(|(_, rest)| rest.split_once('&')).map(|(key, _)| key.to_owned());
        assert_ne!(key(&link), key(&later));
        let last = NOW.plus(ttl).minus(SECOND);
        for links in [&links, &world.links()] {
            assert_eq!(verdict(links, &Method::GET, &link, last).await, "png");
        }
        // What the sweeper prunes by then.
        world.catalog.prune(last, 100).await.expect("it prunes");
        assert_eq!(verdict(&world.links(), &Method::GET, &link, last).await, "png");
        let long_ago = NOW.plus(ttl + DAY * 3);
        assert_eq!(verdict(&links, &Method::GET, &link, long_ago).await, "LINK_INVALID", "the key is not even looked for");
    }

    #[tokio::test]
    async fn a_file_comes_by_one_request_at_a_time() {
        let links = World::new().await.links();
        let first = links.receiving("a").expect("the first");
        assert!(links.receiving("a").is_none());
        assert!(links.receiving("b").is_some());
        drop(first);
        assert!(links.receiving("a").is_some());
    }
}
