use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

/// Spreads connections over servers that come and go: each one goes to the next server that takes it.
#[derive(Debug, Clone)]
pub struct Balancer {
    /// Where clients find it.
    pub url: String,
    servers: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Balancer {
    /// One without servers.
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let url = format!("http://{}", listener.local_addr().expect("a bound port has an address"));
        let balancer = Self { url, servers: Arc::default() };
        let spread = balancer.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let spread = spread.clone();
                tokio::spawn(async move {
                    for server in spread.rotated() {
                        if let Ok(mut server) = TcpStream::connect(server).await {
                            let _ = copy_bidirectional(&mut client, &mut server).await;
                            return;
                        }
                    }
                });
            }
        });
        balancer
    }

    /// Sends connections also to the server with this URL.
    pub fn add(&self, url: &str) {
        let address = url.trim_start_matches("http://").parse().expect("an announced address is one");
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).push(address);
    }

    /// All servers, beginning with another one each time.
    fn rotated(&self) -> Vec<SocketAddr> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if !servers.is_empty() {
            servers.rotate_left(1);
        }
        servers.clone()
    }
}
