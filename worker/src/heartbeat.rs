use std::error::Error;

use tintype_store::{Timestamp, Worker};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::{
    convert::{INPUT_FORMATS, OUTPUT_FORMATS},
    job::Workplace,
};

/// Says again and again that the worker is there. Never ends: drop it.
pub(crate) async fn beat(place: &Workplace) {
    let started_at = Timestamp::now();
    let mut ticks = interval(place.config.heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = true;
    loop {
        ticks.tick().await;
        let worker = Worker {
            id: place.worker_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            input_formats: INPUT_FORMATS.to_vec(),
            output_formats: OUTPUT_FORMATS.to_vec(),
            sandbox: place.converters.sandbox(),
            slots: place.config.slots as u32,
            started_at,
            seen_at: Timestamp::now(),
        };
        match place.presence.unless_away(place.stores.catalog.heartbeat(&worker)).await {
            Ok(()) if !heard => info!(worker.id = %place.worker_id, "the catalog takes heartbeats again"),
            Err(error) if heard => {
                warn!(worker.id = %place.worker_id, error = &error as &dyn Error, "the catalog does not take heartbeats");
                heard = false;
                continue;
            }
            Ok(()) => {}
            Err(_) => continue,
        }
        heard = true;
    }
}
