use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::watch,
};

/// A way to a TCP service that counts what clients send, and breaks their connections at certain totals, in the middle of whatever is sent.
#[derive(Debug)]
pub struct Breaker {
    /// Where the way begins.
    pub address: SocketAddr,
    line: Arc<Line>,
}

#[derive(Debug)]
struct Line {
    service: Mutex<String>,
    /// Where the next cut leads those who come after it.
    after_cut: Mutex<Option<String>>,
    /// Totals at which a connection is still to be broken, the next one last.
    cuts: Mutex<Vec<u64>>,
    cut_count: AtomicU64,
    sent: watch::Sender<u64>,
}

impl Breaker {
    /// Leads to `service`, a host and a port, and breaks when so many bytes were sent in all.
    pub async fn before(service: &str, mut cuts: Vec<u64>) -> Self {
        cuts.sort_by_key(|cut| std::cmp::Reverse(*cut));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound port has an address");
        let line = Arc::new(Line {
            service: Mutex::new(service.to_owned()),
            after_cut: Mutex::default(),
            cuts: Mutex::new(cuts),
            cut_count: AtomicU64::new(0),
            sent: watch::channel(0).0,
        });
        let accepting = Arc::clone(&line);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&accepting).carry(client));
            }
        });
        Self { address, line }
    }

    /// Leads new connections elsewhere, to a service that was started anew.
    pub fn lead_to(&self, service: &str) {
        service.clone_into(&mut self.line.service.lock().expect("nobody panics with the lock"));
    }

    /// Leads connections elsewhere that come after the next one was broken.
    pub fn lead_after_cut_to(&self, service: &str) {
        *self.line.after_cut.lock().expect("nobody panics with the lock") = Some(service.to_owned());
    }

    /// Returns when so many bytes were sent in all.
    pub async fn sent(&self, bytes: u64) {
        self.line.sent.subscribe().wait_for(|sent| *sent >= bytes).await.expect("the sender lives as long as this");
    }

    /// How many bytes clients have sent in all, and how many connections were broken on purpose.
    pub fn counts(&self) -> (u64, u64) {
        (*self.line.sent.borrow(), self.line.cut_count.load(Ordering::Relaxed))
    }
}

impl Line {
    async fn carry(self: Arc<Self>, client: TcpStream) {
        let service = self.service.lock().expect("nobody panics with the lock").clone();
        let Ok(server) = TcpStream::connect(service).await else { return };
        let (from_client, mut to_client) = client.into_split();
        let (mut from_server, to_server) = server.into_split();
        tokio::select! {
            () = self.send(from_client, to_server) => {}
            _ = copy(&mut from_server, &mut to_client) => {}
        }
    }

    /// Carries what the client sends until it ends or it is time to break.
    async fn send(&self, mut from: OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(size @ 1..) = from.read(&mut buffer).await {
            if to.write_all(&buffer[..size]).await.is_err() {
                return;
            }
            self.sent.send_modify(|sent| *sent += size as u64);
            let mut cuts = self.cuts.lock().expect("nobody panics with the lock");
            if cuts.pop_if(|cut| *cut <= *self.sent.borrow()).is_some() {
                self.cut_count.fetch_add(1, Ordering::Relaxed);
                if let Some(service) = self.after_cut.lock().expect("nobody panics with the lock").take() {
                    *self.service.lock().expect("nobody panics with the lock") = service;
                }
                return;
            }
        }
    }
}
