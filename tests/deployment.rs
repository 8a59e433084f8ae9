use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tintype_store::{
    NewUser, Role, Timestamp,
    catalog::{Catalog, postgres::Postgres, sqlite::Sqlite},
    open::{BlobsUrl, CatalogUrl, JobsUrl, Opener, StoreConfig, Stores},
    random_hex,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::yield_now,
    time::timeout,
};

use crate::{Bucket, Client, Gate, Http, Program, Wire, own_binary, required, sign_in};

/// The documented development password of the user `admin`.
pub const ADMIN_PASSWORD: &str = "Admin555";

/// A whole Tintype with a data folder of its own: one process with everything in it, or a server and workers on a database and a NATS server
/// of their own. Ends with the test.
#[derive(Debug)]
pub struct Tintype {
    environment: Vec<(String, String)>,
    cluster: Option<Cluster>,
    /// The server; `None` after it was killed or stopped.
    pub server: Option<Program>,
    /// The worker processes.
    pub workers: Vec<Program>,
    /// Where clients find the server.
    pub grpc_url: String,
    /// Where browsers and health checks find it.
    pub http_url: String,
    // Last, so that it goes after the programs that use it.
    data: TempDir,
}

#[derive(Debug)]
struct Cluster {
    /// Leads to the database itself; programs get there through the gate.
    catalog_url: String,
    gate: Gate,
    nats: Option<Program>,
    nats_port: String,
}

impl Tintype {
    /// Starts an embedded server.
    pub async fn embedded() -> Self {
        Self::embedded_with(&[]).await
    }

    /// Starts an embedded server with more variables.
    pub async fn embedded_with(more: &[(&str, &str)]) -> Self {
        let mut tintype = Self::new(more);
        tintype.start_server().await;
        tintype
    }

    /// Starts an embedded server with more variables under another program, whose last argument is the path of the server.
    pub async fn embedded_under(program: &str, arguments: &[&str], more: &[(&str, &str)]) -> Self {
        let mut tintype = Self::new(more);
        let server = own_binary("tintype-server");
        let arguments = [arguments, &[server.to_str().expect("the path of a build is plain")]].concat();
        let server = Program::start(program, program, &arguments, tintype.environment.iter().map(|(name, value)| (name, value)));
        tintype.served_by(server).await;
        tintype
    }

    /// Starts a server that converts nothing itself, on PostgreSQL, NATS and a shared folder, and that many workers beside it.
    pub async fn cluster(worker_count: usize) -> Self {
        Self::cluster_with(worker_count, &[]).await
    }

    /// Starts such a cluster with more variables, which the workers get as far as [`start_worker_at`](Self::start_worker_at) lets them.
    pub async fn cluster_with(worker_count: usize, more: &[(&str, &str)]) -> Self {
        let mut tintype = Self::new(more);
        let catalog_url = new_database().await;
        let (user, rest) = catalog_url.split_once('@').expect("the URL names a user");
        let (service, database) = rest.split_once('/').expect("the URL names a database");
        let gate = Gate::before(service).await;
        tintype.set("TINTYPE_CATALOG", &format!("{user}@{}/{database}", gate.address));
        tintype.cluster = Some(Cluster { catalog_url, gate, nats: None, nats_port: "-1".to_owned() });
        tintype.start_nats().await;
        tintype.start_server().await;
        for _ in 0..worker_count {
            tintype.start_worker();
        }
        tintype
    }

    fn new(more: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder can be made");
        let mut tintype = Self {
            environment: Vec::new(),
            cluster: None,
            server: None,
            workers: Vec::new(),
            grpc_url: String::new(),
            http_url: String::new(),
            data,
        };
        let folder = tintype.data.path().to_str().expect("temporary folders have plain names").to_owned();
        tintype.set("TINTYPE_DATA", &folder);
        tintype.set("TINTYPE_GRPC_ADDR", "127.0.0.1:0");
        tintype.set("TINTYPE_HTTP_ADDR", "127.0.0.1:0");
        tintype.set("TINTYPE_LOG", "info");
        // Tests ask as often as they like; what the rate promises has tests of its own, which set one.
        tintype.set("TINTYPE_REQUESTS_PER_SECOND", "0");
        // Without optimisation, and beside other tests, large pictures take long.
        tintype.set("TINTYPE_CONVERSION_SECS", "600");
        for (name, value) in more {
            tintype.set(name, value);
        }
        tintype
    }

    /// Sets a variable for programs that are started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the server, anew on the same data after it ended, and waits until it says where it listens.
    pub async fn start_server(&mut self) {
        let server = self.run_server(&[]);
        self.served_by(server).await;
    }

    /// Takes this one for its server once it says where it listens.
    pub async fn served_by(&mut self, mut server: Program) {
        self.grpc_url = server.line(|line| announced(line, "gRPC")).await;
        self.http_url = server.line(|line| announced(line, "HTTP")).await;
        self.server = Some(server);
    }

    /// Starts one more server of a cluster; its gRPC address comes with it.
    pub async fn another_server(&self) -> (Program, String) {
        assert!(self.cluster.is_some(), "a catalog in a file serves one server");
        let mut server = self.run_server(&[]);
        let grpc_url = server.line(|line| announced(line, "gRPC")).await;
        (server, grpc_url)
    }

    /// Runs the server's program with these arguments and the server's settings.
    pub fn run_server(&self, arguments: &[&str]) -> Program {
        Program::own("tintype-server", arguments, self.environment.iter().map(|(name, value)| (name, value)))
    }

    /// The value of a variable of the programs.
    pub fn variable(&self, name: &str) -> &str {
        let found = self.environment.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("{name} is not set here")).1
    }

    /// Where the NATS server of a cluster is.
    pub fn nats_url(&self) -> &str {
        self.variable("TINTYPE_JOBS")
    }

    /// Leads programs that are started from now on to the service in the variable `name`, a URL, by a way of its own.
    pub async fn wire(&mut self, name: &str) -> Wire {
        let url = self.variable(name).to_owned();
        let (_, place) = url.split_once("://").expect("the URL has a scheme");
        let place = place.split_once('@').map_or(place, |(_, place)| place);
        let service = place.split('/').next().expect("the URL names a host");
        let wire = Wire::before(service).await;
        self.set(name, &url.replace(service, &wire.address.to_string()));
        wire
    }

    /// How many connections all programs together have to a cluster's catalog.
    pub async fn catalog_connections(&self) -> i64 {
        let mut connection = self.database().await;
        let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        sqlx::query_scalar(count).fetch_one(&mut connection).await.expect("PostgreSQL tells")
    }

    /// A connection to the database of a cluster itself, beside all programs.
    pub async fn database(&self) -> PgConnection {
        let url = &self.cluster.as_ref().expect("only a cluster's catalog is elsewhere").catalog_url;
        PgConnection::connect(url).await.expect("the PostgreSQL of the tests answers")
    }

    /// Starts one more worker process.
    pub fn start_worker(&mut self) {
        self.start_worker_at(&own_binary("tintype-worker"));
    }

    /// Starts one more worker process, of this file.
    pub fn start_worker_at(&mut self, path: &Path) {
        let names = [
            "TINTYPE_DATA",
            "TINTYPE_CATALOG",
            "TINTYPE_BLOBS",
            "TINTYPE_JOBS",
            "TINTYPE_LOG",
            "TINTYPE_S3_ENDPOINT",
            "TINTYPE_METRICS_ADDR",
            "TINTYPE_CONVERSION_SECS",
        ];
        let is_its_own =
            |name: &str| names.contains(&name) || ["AWS_", "FAKETIME_", "LD_", "NO_FAKE_"].iter().any(|prefix| name.starts_with(prefix));
        let environment = self.environment.iter().filter(|(name, _)| is_its_own(name));
        self.workers.push(Program::start("tintype-worker", path, &["--slots", "1"], environment.map(|(name, value)| (name, value))));
    }

    /// Starts the NATS server, anew on the same port and data after it was killed.
    pub async fn start_nats(&mut self) {
        self.start_nats_with(&[]).await;
    }

    /// Starts it with more arguments.
    pub async fn start_nats_with(&mut self, more: &[&str]) {
        let folder = self.nats_data();
        let folder = folder.to_str().expect("temporary folders have plain names");
        let cluster = self.cluster.as_ref().expect("only a cluster has a NATS server");
        let arguments = ["-a", "127.0.0.1", "-p", &cluster.nats_port, "-js", "-sd", folder];
        let arguments = [&arguments, more].concat();
        let nats = Program::start("nats-server", required("TINTYPE_NATS_SERVER"), &arguments, [("PATH", "")]);
        self.queued_by(nats).await;
    }

    /// Starts the NATS server as [`start_nats`](Self::start_nats) does, on an empty disk of so many MiB, of which it does not know how small it
    /// is. The disk is in mounts of the server's own, which takes no rights, and ends with it.
    pub async fn start_nats_on_a_disk_of(&mut self, mebibytes: usize) {
        let folder = self.nats_data();
        let folder = folder.to_str().expect("temporary folders have plain names");
        let cluster = self.cluster.as_ref().expect("only a cluster has a NATS server");
        let config = self.data.path().join("nats.conf");
        let settings = format!("jetstream {{ store_dir: {folder:?}, max_file_store: 1GB }}");
        fs::write(&config, settings).expect("a file can be written");
        let mount = format!("mount -t tmpfs -o size={mebibytes}m none {folder} && exec \"$0\" \"$@\"");
        let config = config.to_str().expect("temporary folders have plain names");
        let binary = required("TINTYPE_NATS_SERVER");
        let server = [&binary, "-c", config, "-a", "127.0.0.1", "-p", &cluster.nats_port];
        let arguments = [&["--user", "--map-root-user", "--mount", "sh", "-c", &mount], &server[..]].concat();
        let nats = Program::start("nats-server", "unshare", &arguments, [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")]);
        self.queued_by(nats).await;
    }

    async fn queued_by(&mut self, mut nats: Program) {
        let port = nats.line(|line| line.split_once("client connections on 127.0.0.1:").map(|(_, port)| port.to_owned())).await;
        let url = format!("nats://127.0.0.1:{port}");
        let cluster = self.cluster.as_mut().expect("only a cluster has a NATS server");
        cluster.nats_port = port;
        cluster.nats = Some(nats);
        self.set("TINTYPE_JOBS", &url);
    }

    /// The NATS server.
    pub fn nats(&self) -> &Program {
        self.cluster.as_ref().and_then(|cluster| cluster.nats.as_ref()).expect("only a cluster has a NATS server, and it runs")
    }

    /// Kills the NATS server.
    pub async fn kill_nats(&mut self) {
        let nats = self.cluster.as_mut().and_then(|cluster| cluster.nats.take());
        nats.expect("only a cluster has a NATS server, and it runs").kill().await;
    }

    /// Where the NATS server stores what it keeps.
    pub fn nats_data(&self) -> PathBuf {
        self.data.path().join("nats")
    }

    /// Removes what a NATS server that is not running has stored.
    pub fn forget_nats_data(&self) {
        fs::remove_dir_all(self.nats_data()).expect("the folder can be removed");
    }

    /// Kills the server.
    pub async fn kill_server(&mut self) {
        self.server.take().expect("the server runs").kill().await;
    }

    /// Sends the server SIGTERM and waits for its end.
    pub async fn stop_server(&mut self) -> ExitStatus {
        let mut server = self.server.take().expect("the server runs");
        server.terminate();
        server.ended().await
    }

    /// What `/healthz` answers: the status code and the body.
    pub async fn healthz(&self) -> (u16, String) {
        self.ask("/healthz").await
    }

    /// What `/metrics` answers.
    pub async fn metrics(&self) -> String {
        self.ask("/metrics").await.1
    }

    async fn ask(&self, path: &str) -> (u16, String) {
        let address = self.http_url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.expect("the HTTP port answers");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("a request can be sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer comes");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        let code = head.split_whitespace().nth(1).and_then(|code| code.parse().ok()).expect("an answer has a code");
        (code, body.to_owned())
    }

    /// A client of the HTTP port that sends a user's token.
    pub async fn http_of(&self, username: &str) -> Http {
        Http::new(&self.http_url, self.client_of(username).await.token.as_deref())
    }

    /// A connection without a token.
    pub async fn stranger(&self) -> Client {
        Client::connect(&self.grpc_url).await
    }

    /// A connection of the administrator.
    pub async fn client(&self) -> Client {
        self.client_of("admin").await
    }

    /// A connection of a user.
    pub async fn client_of(&self, username: &str) -> Client {
        let mut client = self.stranger().await;
        client.token = Some(sign_in(client.channel.clone(), username, ADMIN_PASSWORD).await.expect("the documented password works"));
        client
    }

    /// Adds a user who has the administrator's password.
    pub async fn add_user(&self, name: &str) {
        let catalog = self.catalog().await;
        let admin = catalog.user_by_name("admin").await.expect("the catalog answers").expect("the first start made the administrator");
        let new = NewUser {
            name: name.to_owned(),
            role: Role::User,
            password_hash: admin.password_hash,
            quota_bytes: NewUser::DEFAULT_QUOTA_BYTES,
        };
        catalog.create_user(new, Timestamp::now()).await.expect("the name is free");
    }

    /// The catalog itself, beside the server.
    pub async fn catalog(&self) -> Arc<dyn Catalog> {
        match &self.cluster {
            Some(cluster) => Arc::new(Postgres::connect(&cluster.catalog_url, false).await.expect("the database answers")),
            None => Arc::new(Sqlite::open(&self.data.path().join("catalog.db")).await.expect("the file can be opened")),
        }
    }

    /// The stores of a cluster themselves, beside the server, with the blobs in this bucket.
    pub async fn stores(&self, bucket: &Bucket) -> Stores {
        let cluster = self.cluster.as_ref().expect("only a cluster's stores can be opened twice");
        let config = StoreConfig {
            data: self.data.path().to_owned(),
            catalog: CatalogUrl::Postgres(cluster.catalog_url.clone()),
            blobs: BlobsUrl::S3(bucket.config()),
            jobs: JobsUrl::Nats(format!("nats://127.0.0.1:{}", cluster.nats_port)),
        };
        Stores::open(&config, Opener::Worker).await.expect("the stores are ready")
    }

    /// The way of servers and workers to the catalog of a cluster.
    pub fn catalog_gate(&self) -> &Gate {
        &self.cluster.as_ref().expect("only a cluster's catalog is elsewhere").gate
    }

    /// The folder of everything that is local.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// The folder of the blobs.
    pub fn blobs(&self) -> PathBuf {
        self.data.path().join("blobs")
    }

    /// [Every file](files_below) below a folder of the blobs.
    pub fn blob_files(&self, folder: &str) -> Vec<PathBuf> {
        files_below(&self.blobs().join(folder))
    }

    /// Returns when no file is staged but these: what is let go of goes a moment after the client was told, and results are staged while
    /// they are written.
    pub async fn nothing_is_staged_but(&self, files: &[PathBuf]) {
        let others = || self.blob_files("staging").into_iter().filter(|file| !files.contains(file)).collect::<Vec<_>>();
        let gone = async {
            while !others().is_empty() {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), gone).await.unwrap_or_else(|_| panic!("still staged: {:?}", others()));
    }
}

/// Every file below a folder, but for empty ones in a folder `staging`: programs make one there each second, to see whether they can, and
/// remove it at once.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(folder, &mut files);
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a folder can be read").path();
        // What goes meanwhile is not there.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_dir() {
            collect(&path, files);
        } else if metadata.len() > 0 || !folder.ends_with("staging") {
            files.push(path);
        }
    }
}

/// The URL of a line such as `gRPC  http://127.0.0.1:50051`.
fn announced(line: &str, what: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let url = words.find(|word| *word == what).and_then(|_| words.next())?;
    url.starts_with("http").then(|| url.to_owned())
}

/// A fresh database; it goes with the private PostgreSQL.
async fn new_database() -> String {
    let url = required("TINTYPE_TEST_POSTGRES");
    let name = format!("tintype_{}", random_hex());
    let mut connection = PgConnection::connect(&url).await.expect("the PostgreSQL of the tests answers");
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.expect("a database can be made");
    let (server, _) = url.rsplit_once('/').expect("the URL names a database");
    format!("{server}/{name}")
}
