use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use moka::sync::Cache;
use tintype_proto::v1::ErrorReason;

use crate::status::Refusal;

/// How many failures are free.
const FREE_FAILURES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Failures are forgotten after this time without another one.
const MEMORY: Duration = Duration::from_mins(15);
/// Names and addresses that are remembered.
const MAX_REMEMBERED: u64 = 100_000;

/// Slows down whoever guesses passwords: counts failed sign-ins by the name that was given, whether there is such a user or not, and by the
/// address that they came from. In memory: each server counts for itself.
#[derive(Debug, Clone)]
pub(crate) struct Throttle {
    failures: Cache<Origin, Arc<Mutex<Failures>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Origin {
    Name(String),
    Address(IpAddr),
}

#[derive(Debug, Default)]
struct Failures {
    count: u32,
    blocked_until: Option<Instant>,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self { failures: Cache::builder().max_capacity(MAX_REMEMBERED).time_to_idle(MEMORY).build() }
    }

    /// Refuses an attempt that comes too soon, whatever its password.
    pub(crate) fn check(&self, name: &str, address: Option<IpAddr>, now: Instant) -> Result<(), Refusal> {
        let known = origins(name, address).filter_map(|origin| self.failures.get(&origin));
        let pauses = known.filter_map(|failures| lock(&failures).blocked_until?.checked_duration_since(now));
        match pauses.filter(|pause| !pause.is_zero()).max() {
            Some(pause) => Err(Refusal::new(ErrorReason::SignInThrottled, "too many failed sign-ins").retry_after(pause)),
            None => Ok(()),
        }
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, name: &str, address: Option<IpAddr>, now: Instant) {
        for origin in origins(name, address) {
            let failures = self.failures.get_with(origin, Arc::default);
            let mut failures = lock(&failures);
            failures.count = failures.count.saturating_add(1);
            failures.blocked_until = pause_after(failures.count).map(|pause| now + pause);
        }
    }

    /// Forgets the failures for a name. Those of the address stay: whoever has one account could go on guessing others' passwords.
    pub(crate) fn succeeded(&self, name: &str) {
        self.failures.invalidate(&Origin::Name(name.to_owned()));
    }
}

fn origins(name: &str, address: Option<IpAddr>) -> impl Iterator<Item = Origin> {
    std::iter::once(Origin::Name(name.to_owned())).chain(address.map(|address| Origin::Address(network(address))))
}

/// One customer of a provider has a whole /64 of IPv6 addresses (RFC 6177), and counts as one.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address @ IpAddr::V4(_) => address,
    }
}

fn pause_after(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(FREE_FAILURES)?;
    Some(FIRST_PAUSE.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(LONGEST_PAUSE))
}

/// A count is whole whatever happened to its holder.
fn lock(failures: &Mutex<Failures>) -> MutexGuard<'_, Failures> {
    failures.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<IpAddr> = Some(IpAddr::V6(Ipv6Addr::LOCALHOST));

    fn elsewhere(host: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, host])
    }

    #[test]
    fn pauses_double_after_the_free_failures_up_to_a_minute() {
        let pauses: Vec<_> = (4..=14).map(|failures| pause_after(failures).map_or(0, |pause| pause.as_secs())).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert_eq!(pause_after(u32::MAX), Some(LONGEST_PAUSE));
    }

    #[test]
    fn a_name_is_throttled_from_anywhere() {
        let (throttle, begin) = (Throttle::new(), Instant::now());
        for host in 0..5 {
            assert!(throttle.check("ada", Some(elsewhere(host)), begin).is_ok());
            throttle.failed("ada", Some(elsewhere(host)), begin);
        }
        assert!(throttle.check("ada", Some(elsewhere(99)), begin).is_err());
        assert!(throttle.check("bob", Some(elsewhere(1)), begin).is_ok());
        assert!(throttle.check("ada", Some(elsewhere(99)), begin + FIRST_PAUSE).is_ok());
        throttle.failed("ada", Some(elsewhere(99)), begin + FIRST_PAUSE);
        assert!(throttle.check("ada", None, begin + 2 * FIRST_PAUSE).is_err());
        throttle.succeeded("ada");
        assert!(throttle.check("ada", None, begin + 2 * FIRST_PAUSE).is_ok());
    }

    #[test]
    fn an_address_is_throttled_for_any_name() {
        let (throttle, begin) = (Throttle::new(), Instant::now());
        for name in ["a", "b", "c", "d", "e"] {
            throttle.failed(name, HERE, begin);
            throttle.succeeded(name);
        }
        assert!(throttle.check("f", HERE, begin).is_err());
        assert!(throttle.check("f", Some(elsewhere(1)), begin).is_ok());
    }

    #[test]
    fn addresses_of_one_network_count_as_one() {
        let address = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(address("2001:db8:0:1::7"), address("2001:db8:0:1:ffff::9"));
        assert_ne!(address("2001:db8:0:1::7"), address("2001:db8:0:2::7"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
    }
}
