use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use metrics::gauge;

use crate::auth::network;

/// How many connections there may be, in all and from one address. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    max_total: usize,
    max_per_source: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// One connection's place, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    source: IpAddr,
    places: Places,
}

impl Places {
    pub(crate) fn new(max_total: usize, max_per_source: usize) -> Self {
        Self { max_total, max_per_source, taken: Arc::default() }
    }

    /// A place for a connection from that address, or which limit leaves none.
    pub(super) fn take(&self, address: IpAddr) -> Result<Place, &'static str> {
        let source = network(address);
        let mut taken = self.lock();
        if taken.total >= self.max_total {
            return Err("max_connections");
        }
        let of_source = taken.by_source.entry(source).or_default();
        if *of_source >= self.max_per_source {
            return Err("max_connections_per_source");
        }
        *of_source += 1;
        taken.total += 1;
        gauge!("tintype_connections_open").set(taken.total as f64);
        Ok(Place { source, places: self.clone() })
    }

    /// The counts are whole between any two of their changes.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.total -= 1;
        gauge!("tintype_connections_open").set(taken.total as f64);
        if let Some(of_source) = taken.by_source.get_mut(&self.source) {
            *of_source -= 1;
            if *of_source == 0 {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_share_and_all_together_the_rest() {
        let places = Places::new(3, 2);
        let from = |host| places.take(IpAddr::from([192, 0, 2, host]));
        let (first, second) = (from(1).expect("free"), from(1).expect("free"));
        assert_eq!(from(1).expect_err("its third"), "max_connections_per_source");
        let other = from(2).expect("others have theirs");
        assert_eq!(from(3).expect_err("the fourth of all"), "max_connections");
        drop((first, other));
        from(3).expect("free again");
        drop(second);
        assert!(places.lock().by_source.is_empty(), "nobody who has left is remembered");
        assert_eq!(places.lock().total, 0);
    }
}
