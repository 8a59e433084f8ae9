//! Many operations at once and faults of every kind between them, by a seed; then what clients were told is compared with what is there.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tintype_proto::v1::ImageFormat;
use tintype_tests::{Client, Fault, Random, Tintype, Upload, Wire, number, pictures, seed};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use super::{
    lane::{LANES, Lane},
    ledger::{Ledger, check},
};

/// At most so many operations end between two faults.
const BETWEEN_FAULTS: usize = 20;
/// So many end while one lasts.
const DURING_A_FAULT: usize = 4;
/// After the end of a fault a file is taken and converted within this time: half a minute for a lease that nobody ends, and then some.
const RECOVERY: Duration = Duration::from_mins(2);
/// In a run of minutes lanes wait for so long at most for what they uploaded.
const WAITS: Duration = Duration::from_secs(5);
const VIEWER: &str = "viewer";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ServerKilled,
    WorkerKilled,
    WorkerPaused,
    QueueKilled,
    QueueWiped,
    QueuePaused,
    CatalogGone,
    CatalogSilent,
    CommitUnanswered,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::ServerKilled => "server killed",
            Self::WorkerKilled => "worker killed",
            Self::WorkerPaused => "worker paused",
            Self::QueueKilled => "queue killed",
            Self::QueueWiped => "queue killed and wiped",
            Self::QueuePaused => "queue paused",
            Self::CatalogGone => "catalog gone",
            Self::CatalogSilent => "catalog silent",
            Self::CommitUnanswered => "answer of a commit lost",
        }
    }
}

/// When a run ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Operations(usize),
    At(Instant),
}

/// A Tintype under load.
pub(super) struct Run {
    pub(super) tintype: Tintype,
    /// The way of a cluster's server to its catalog.
    wire: Option<Wire>,
    home: watch::Sender<Option<Client>>,
    token: Option<String>,
    viewer_token: Option<String>,
    ledger: Arc<Mutex<Ledger>>,
    random: Random,
    done: mpsc::UnboundedReceiver<()>,
    probes: u32,
}

impl Run {
    /// Begins with as many lanes as there are, which go on until the end.
    pub(super) async fn begin(mut tintype: Tintype, wire: Option<Wire>, seed: u64, end: End) -> (Self, Vec<tokio::task::JoinHandle<()>>) {
        let mut random = Random::new(seed);
        tintype.add_user(VIEWER).await;
        let (client, viewer) = (tintype.client().await, tintype.client_of(VIEWER).await);
        let token = client.token.clone();
        let home = watch::Sender::new(Some(client));
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let begun = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (sender, done) = mpsc::unbounded_channel();
        let lanes = (0..LANES).map(|number| {
            let random = Random::new(random.below(1 << 31) as u64);
            let waits = if matches!(end, End::At(_)) { WAITS } else { Duration::ZERO };
            let (home, ledger) = (home.subscribe(), Arc::clone(&ledger));
            let mut lane = Lane { number, home, ledger, random, viewer: VIEWER.to_owned(), waits };
            let (begun, sender) = (Arc::clone(&begun), sender.clone());
            tokio::spawn(async move {
                let goes_on = || match end {
                    End::Operations(count) => begun.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < count,
                    End::At(end) => Instant::now() < end,
                };
                while goes_on() {
                    lane.do_something().await;
                    // The last ones may end after the test has failed.
                    let _ = sender.send(());
                }
            })
        });
        let lanes = lanes.collect();
        let viewer_token = viewer.token;
        tintype.set("TINTYPE_MAX_ATTEMPTS", "9");
        (Self { tintype, wire, home, token, viewer_token, ledger, random, done, probes: 0 }, lanes)
    }

    /// Returns when so many operations have ended; `false` when there are no more.
    pub(super) async fn operations(&mut self, count: usize) -> bool {
        for _ in 0..count {
            if self.done.recv().await.is_none() {
                return false;
            }
        }
        true
    }

    /// Has faults of these kinds happen until the operations end, or it is late enough.
    pub(super) async fn suffer(&mut self, kinds: &[Kind], until: Option<Instant>) {
        while until.is_none_or(|until| Instant::now() < until) {
            let quiet = self.random.below(BETWEEN_FAULTS);
            if !self.operations(quiet).await {
                return;
            }
            let kind = kinds[self.random.below(kinds.len())];
            self.happen(kind).await;
            let (taken, converted) = self.recovery().await;
            self.ledger.lock().expect("no lane panics with the lock").note_fault(kind.name(), taken, converted);
        }
    }

    async fn happen(&mut self, kind: Kind) {
        match kind {
            Kind::ServerKilled => {
                // What is begun by now is cut off; nobody else runs into the gap.
                self.home.send_replace(None);
                self.tintype.kill_server().await;
                self.tintype.start_server().await;
                let client = self.client().await;
                self.home.send_replace(Some(client));
            }
            Kind::WorkerKilled => {
                self.tintype.workers.pop().expect("a cluster has workers").kill().await;
                self.tintype.start_worker();
            }
            Kind::WorkerPaused => {
                let worker = self.tintype.workers.pop().expect("a cluster has workers");
                worker.pause();
                self.operations(DURING_A_FAULT).await;
                worker.resume();
                self.tintype.workers.push(worker);
            }
            Kind::QueueKilled | Kind::QueueWiped => {
                self.tintype.kill_nats().await;
                self.operations(DURING_A_FAULT).await;
                if kind == Kind::QueueWiped {
                    self.tintype.forget_nats_data();
                }
                self.tintype.start_nats().await;
            }
            Kind::QueuePaused => {
                self.tintype.nats().pause();
                self.operations(DURING_A_FAULT).await;
                self.tintype.nats().resume();
            }
            Kind::CatalogGone | Kind::CatalogSilent => {
                let gate = self.tintype.catalog_gate();
                if kind == Kind::CatalogGone {
                    gate.shut();
                } else {
                    gate.silence();
                }
                self.operations(DURING_A_FAULT).await;
                self.tintype.catalog_gate().open();
            }
            Kind::CommitUnanswered => {
                let wire = self.wire.as_ref().expect("a cluster's server has one");
                wire.arm(&["COMMIT"], Fault::LoseAnswer, 1);
                self.operations(DURING_A_FAULT).await;
                self.wire.as_ref().expect("it stays").disarm();
            }
        }
    }

    /// How long it takes until a file is taken, and until it is converted.
    async fn recovery(&mut self) -> (Duration, Duration) {
        let begin = Instant::now();
        let client = self.client().await;
        self.probes += 1;
        let (probes, ledger) = (self.probes, Arc::clone(&self.ledger));
        let probe = async {
            let image = loop {
                let upload = Upload::new("request-0", pictures::png(24, 24, probes)).request_id(&format!("probe-{probes}"));
                if let Ok(image) = client.upload(upload).await {
                    break image;
                }
            };
            let taken = begin.elapsed();
            while client.rendition(image.id, ImageFormat::Jpeg).await.is_err() {}
            let converted = begin.elapsed();
            while client.images().delete_image(tintype_proto::v1::DeleteImageRequest { id: image.id }).await.is_err_and(|status| {
                // Gone is gone, whoever was told.
                status.code() != tonic::Code::NotFound
            }) {}
            (taken, converted)
        };
        let recovered = timeout(RECOVERY, probe).await;
        recovered.unwrap_or_else(|_| {
            ledger.lock().expect("no lane panics with the lock").print();
            panic!("no file was taken and converted within {RECOVERY:?} after the end of a fault")
        })
    }

    async fn client(&self) -> Client {
        Client { token: self.token.clone(), ..self.tintype.stranger().await }
    }

    /// Compares and prints.
    pub(super) async fn end(mut self, lanes: Vec<tokio::task::JoinHandle<()>>) {
        while self.done.recv().await.is_some() {}
        for lane in join_all(lanes).await {
            lane.expect("a lane does not panic");
        }
        // What is only in memory must not be needed.
        self.tintype.kill_server().await;
        self.tintype.start_server().await;
        let client = self.client().await;
        let viewer = Client { token: self.viewer_token.clone(), ..self.tintype.stranger().await };
        let mut ledger = std::mem::take(&mut *self.ledger.lock().expect("no lane panicked"));
        ledger.print();
        let doomed = ledger.doomed.len();
        check(&mut ledger, &self.tintype, &client, &viewer).await;
        println!("{} files, {doomed} of them deleted, {} left; violations: 0", ledger.requests.len(), ledger.images().len());
        assert!(!ledger.images().is_empty() && !ledger.faults.is_empty(), "too little happened");
    }
}

/// A cluster whose server reaches its catalog by a wire.
pub(super) async fn wired_cluster(worker_count: usize) -> (Tintype, Option<Wire>) {
    let mut tintype = Tintype::cluster(worker_count).await;
    tintype.kill_server().await;
    let wire = tintype.wire("TINTYPE_CATALOG").await;
    tintype.start_server().await;
    (tintype, Some(wire))
}

/// What can happen to a cluster while its server lives.
pub(super) const AROUND_A_SERVER: [Kind; 8] = [
    Kind::WorkerKilled,
    Kind::WorkerPaused,
    Kind::QueueKilled,
    Kind::QueueWiped,
    Kind::QueuePaused,
    Kind::CatalogGone,
    Kind::CatalogSilent,
    Kind::CommitUnanswered,
];

async fn told_is_so(tintype: Tintype, wire: Option<Wire>, kinds: &[Kind]) {
    let end = End::Operations(number("TINTYPE_TEST_OPERATIONS", 70));
    let (mut run, lanes) = Run::begin(tintype, wire, seed(), end).await;
    run.suffer(kinds, None).await;
    run.end(lanes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_were_told_is_so_after_anything_embedded() {
    told_is_so(Tintype::embedded().await, None, &[Kind::ServerKilled]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_were_told_is_so_after_anything_in_a_cluster() {
    let (tintype, wire) = wired_cluster(2).await;
    let kinds = [&[Kind::ServerKilled], &AROUND_A_SERVER[..]].concat();
    told_is_so(tintype, wire, &kinds).await;
}
