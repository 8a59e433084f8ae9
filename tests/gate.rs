use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A door in front of a TCP service: shut, it ends every connection that goes through it and every new one, as a lost service would.
#[derive(Debug)]
pub struct Gate {
    /// Where the door is.
    pub address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Gate {
    /// An open door in front of `service`, a host and a port.
    pub async fn before(service: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound port has an address");
        let (open, is_open) = watch::channel(true);
        let service = service.to_owned();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (service, mut is_open) = (service.clone(), is_open.clone());
                tokio::spawn(async move {
                    if !*is_open.borrow_and_update() {
                        return;
                    }
                    let Ok(mut server) = TcpStream::connect(service).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = is_open.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { address, open }
    }

    /// Shuts it.
    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    /// Opens it again.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}
