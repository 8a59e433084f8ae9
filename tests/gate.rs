use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// A door in front of a TCP service. Shut, it ends every connection that goes through it and every new one, as a lost service would; silent, it
/// takes everything and passes nothing on, as a service that was stopped would. Connections can be left behind, too: silent for ever, while new
/// ones pass, as after a failover.
#[derive(Debug)]
pub struct Gate {
    /// Where the door is.
    pub address: SocketAddr,
    door: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    door: Door,
    /// How often all connections were left behind.
    era: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    Silent,
    Shut,
}

impl Gate {
    /// An open door in front of `service`, a host and a port.
    pub async fn before(service: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound port has an address");
        let (sender, door) = watch::channel(State { door: Door::Open, era: 0 });
        let service = service.to_owned();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (service, mut door) = (service.clone(), door.clone());
                tokio::spawn(async move {
                    let State { door: now, era } = *door.borrow_and_update();
                    if now == Door::Shut {
                        return;
                    }
                    let Ok(server) = TcpStream::connect(service).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                    tokio::select! {
                        () = pass_on(from_client, to_server, door.clone(), era) => {}
                        () = pass_on(from_server, to_client, door.clone(), era) => {}
                        _ = door.wait_for(|state| state.door == Door::Shut) => {}
                    }
                });
            }
        });
        Self { address, door: sender }
    }

    /// Shuts it.
    pub fn shut(&self) {
        self.turn(Door::Shut);
    }

    /// Passes nothing on any more.
    pub fn silence(&self) {
        self.turn(Door::Silent);
    }

    /// Opens it again.
    pub fn open(&self) {
        self.turn(Door::Open);
    }

    /// Leaves the connections of now behind: nothing passes on them any more, whatever happens to the door. Those that come later pass.
    pub fn leave_behind(&self) {
        self.door.send_modify(|state| state.era += 1);
    }

    fn turn(&self, door: Door) {
        self.door.send_modify(|state| state.door = door);
    }
}

/// Passes bytes on until one side ends; while it is silent, it keeps what it has.
async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut door: watch::Receiver<State>, era: usize) {
    let passes = State { door: Door::Open, era };
    let mut bytes = vec![0; 64 << 10];
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else { return };
        if door.wait_for(|state| *state == passes).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
