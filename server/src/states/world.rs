use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use tintype_process::Shutdown;
use tintype_store::{
    Format, NewUser, Role, Schemes, StoreId, Timestamp, UserId,
    blobs::{Blobs, memory::Memory},
    catalog::{Upkeep, Users, sqlite::Sqlite},
    jobs::local::Local,
    open::Stores,
    orphans::OrphanSweeper,
    random_hex,
    sweep::{SweepConfig, sweep},
};
use tintype_worker::{Converters, Sandbox, WorkerConfig};
use tokio::{sync::Semaphore, task::JoinHandle, time::sleep};

use super::{
    blobs::FaultyBlobs,
    catalog::{FaultyCatalog, Template, at_once},
    clients::Ledger,
    clock::Clock,
    faults::{Faults, Odds, Random},
    jobs::{FaultyJobs, NoNudges},
};
use crate::{
    auth::{Authorizer, Passwords, Throttle},
    changes::Changes,
    config::Config,
    core::{Core, SharedCore},
    limits::Limits,
    links::Links,
    usage::Usage,
};

/// So little that some uploads find no room.
const QUOTA_BYTES: u64 = 90_000;
/// More often would find nothing more.
const SWEEP_EVERY: Duration = Duration::from_secs(20);
const SERVERS: usize = 2;
const WORKERS: usize = 2;

/// The stores of a run, and whoever is at them: servers and workers that die and are started again, with a sweeper in each server.
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) catalog: Arc<Sqlite>,
    pub(super) blobs: Memory,
    pub(super) users: Vec<UserId>,
    pub(super) ledger: Mutex<Ledger>,
    pub(super) calm: Arc<AtomicBool>,
    queue: Local,
    odds: Odds,
    random: Mutex<Random>,
    servers: Mutex<Vec<Arc<Server>>>,
    /// Whoever works and is to stop when all is done.
    pub(super) workers: Shutdown,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// A server's process.
pub(super) struct Server {
    pub(super) core: SharedCore,
    pub(super) faults: Faults,
}

impl World {
    /// Everything that a seed decides.
    pub(super) fn new(template: &Template, seed: u64) -> Arc<Self> {
        let mut random = Random::new(seed);
        let pick = |random: &mut Random, values: &[u64]| values[random.below(values.len() as u64) as usize];
        let odds = Odds {
            error: pick(&mut random, &[0, 12, 40, 150]),
            crash: pick(&mut random, &[0, 60, 250]),
            stall: pick(&mut random, &[0, 40, 200]),
            hint: pick(&mut random, &[0, 2, 5]),
            latency_millis: pick(&mut random, &[1, 40, 900]),
        };
        let (clock, catalog) = (Clock::start(), template.open(seed));
        let of_blobs = clock.clone();
        let blobs = Memory::new(move || of_blobs.now());
        let id = StoreId(random_hex());
        at_once(blobs.set_store_id(&id)).expect("a store in memory answers");
        at_once(catalog.store_id(Some(&id))).expect("SQLite answers");
        let new = |name: &str| NewUser { name: name.into(), password_hash: String::new(), role: Role::User, quota_bytes: QUOTA_BYTES };
        let user = |name| at_once(catalog.create_user(new(name), clock.now())).expect("SQLite answers").id;
        Arc::new(Self {
            users: vec![user("ada"), user("bob")],
            clock,
            catalog,
            blobs,
            ledger: Mutex::default(),
            calm: Arc::default(),
            queue: Local::default(),
            odds,
            random: Mutex::new(random),
            servers: Mutex::default(),
            workers: Shutdown::new(),
            tasks: Mutex::default(),
        })
    }

    /// Starts servers and workers; whichever dies is started again.
    pub(super) async fn populate(self: &Arc<Self>) {
        for place in 0..SERVERS {
            let server = self.server_process().await;
            self.servers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&server));
            let world = Arc::clone(self);
            self.spawn(async move { world.keep_server(place, server).await });
        }
        for _ in 0..WORKERS {
            let world = Arc::clone(self);
            self.spawn(async move { world.keep_worker().await });
        }
    }

    pub(super) fn random(&self) -> Random {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of the servers that run, or ran until now.
    pub(super) fn server(&self, random: &mut Random) -> Arc<Server> {
        Arc::clone(&self.servers()[random.below(SERVERS as u64) as usize])
    }

    pub(super) fn servers(&self) -> Vec<Arc<Server>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts a task whose panic fails the run.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(tokio::spawn(task));
    }

    /// Panics when a task did.
    pub(super) async fn unless_panicked(&self) {
        let ended = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).extract_if(.., |task| task.is_finished()).collect::<Vec<_>>();
        for task in ended {
            task.await.expect("no task panics");
        }
    }

    /// The stores as no process in particular has them: without faults.
    pub(super) fn stores(&self) -> Stores {
        self.stores_of(&Faults::new(Odds::default(), Random::new(0), &self.calm))
    }

    fn stores_of(&self, faults: &Faults) -> Stores {
        let catalog = FaultyCatalog { inner: Arc::clone(&self.catalog), clock: self.clock.clone(), faults: faults.clone() };
        let blobs = FaultyBlobs { inner: self.blobs.clone(), faults: faults.clone() };
        let jobs = FaultyJobs { inner: self.queue.clone(), faults: faults.clone() };
        let mut stores = Stores::of(Arc::new(catalog), Arc::new(blobs), Arc::new(jobs), Arc::new(NoNudges));
        // SQLite always answers, so nobody needs to ask beside what else is asked.
        stores.exclusive = true;
        stores
    }

    fn faults(&self) -> Faults {
        Faults::new(self.odds, self.random(), &self.calm)
    }

    async fn server_process(&self) -> Arc<Server> {
        static PASSWORDS: OnceLock<Passwords> = OnceLock::new();
        let faults = self.faults();
        let stores = self.stores_of(&faults);
        // Nobody waits for changes here.
        let over = Shutdown::new();
        over.drain();
        let config = Config::parse_from(["tintype-server"]);
        let core = Core {
            authorizer: Authorizer::new(stores.catalog.clone()),
            changes: Changes::follow(self.stores().catalog, &NoNudges, &over).await.expect("SQLite answers"),
            passwords: PASSWORDS.get_or_init(|| Passwords::new().expect("a password can be hashed")).clone(),
            throttle: Throttle::new(),
            usage: Usage::new(stores.catalog.clone()),
            links: Links::new(stores.catalog.clone(), None),
            limits: config.limits(),
            auto_formats: vec![Format::Jpeg, Format::Png],
            shutdown: Shutdown::new(),
            stores,
            started_at: Timestamp::now(),
            schemes: Schemes { catalog: "sqlite", blobs: "memory", jobs: "local" },
            watches: Arc::new(Semaphore::new(Limits::MAX_WATCHES)),
            checks: Arc::new(Semaphore::new(Limits::MAX_CHECKS)),
        };
        Arc::new(Server { core: Arc::new(core), faults })
    }

    /// Sweeps as long as the server lives, then starts it again.
    async fn keep_server(&self, place: usize, mut server: Arc<Server>) {
        let mut random = self.random();
        loop {
            tokio::select! {
                () = self.sweep_at(&server) => {}
                () = server.faults.life.over() => {}
            }
            sleep(random.millis(20_000)).await;
            server = self.server_process().await;
            self.servers.lock().unwrap_or_else(PoisonError::into_inner)[place] = Arc::clone(&server);
        }
    }

    async fn sweep_at(&self, server: &Server) {
        let (config, mut orphans) = (SweepConfig { interval: SWEEP_EVERY, ..SweepConfig::default() }, OrphanSweeper::default());
        loop {
            // What one sweep leaves the next one finds.
            let _ = sweep(&server.core.stores, &config, self.clock.now()).await;
            let _ = orphans.step(&server.core.stores, self.clock.now()).await;
            sleep(config.interval).await;
        }
    }

    async fn keep_worker(&self) {
        let mut random = self.random();
        // A heartbeat has no part in what is looked at here.
        let config = WorkerConfig { slots: 2, sandbox: Sandbox::Off, heartbeat: Duration::from_hours(1000), ..WorkerConfig::default() };
        while !self.workers.is_draining() {
            let faults = self.faults();
            let converters = Converters::start(&config).await.expect("there is nothing to start");
            let work = tintype_worker::run(self.stores_of(&faults), config.clone(), converters, self.workers.clone());
            tokio::select! {
                // On a task of its own, because it is to stop where it is when the process dies, and not to be dropped.
                ended = tokio::spawn(work) => ended.expect("a worker does not panic"),
                () = faults.life.over() => sleep(random.millis(40_000)).await,
            }
        }
    }

    pub(super) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }
}
