use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

/// What goes wrong on a [`Wire`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends, and the service never hears it.
    Cut,
    /// The service hears it and does it; the answer is lost with the connection.
    LoseAnswer,
    /// It stays on its way, and so does whatever follows on that connection.
    Hold,
    /// The service hears it and does it; the answer stays on its way.
    HoldAnswer,
    /// So many bytes of the answer arrive, then the connection ends.
    CutAnswerAfter(u64),
    /// So many bytes of the answer arrive, and the rest stays on its way.
    HoldAnswerAfter(u64),
    /// The client gets this answer, of which the service knows nothing, and the connection ends.
    Answer(&'static str),
}

/// A way to a TCP service on which something goes wrong at a chosen moment: when certain texts have gone by on a connection, in their order.
#[derive(Debug)]
pub struct Wire {
    /// Where the way begins.
    pub address: SocketAddr,
    line: Arc<Line>,
}

#[derive(Debug)]
struct Line {
    service: String,
    plan: Mutex<Option<Plan>>,
    /// What each connection carries of what clients send; 0 when that is not bounded.
    sent_bytes_a_second: AtomicU64,
    happened: watch::Sender<usize>,
}

#[derive(Debug, Clone)]
struct Plan {
    texts: Vec<String>,
    fault: Fault,
    left: usize,
}

impl Wire {
    /// Leads to `service`, a host and a port. Nothing goes wrong yet.
    pub async fn before(service: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound port has an address");
        let line = Arc::new(Line {
            service: service.to_owned(),
            plan: Mutex::default(),
            sent_bytes_a_second: AtomicU64::default(),
            happened: watch::channel(0).0,
        });
        let accepting = Arc::clone(&line);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let line = Arc::clone(&accepting);
                // What a lost connection says is for the programs at its ends.
                tokio::spawn(async move { drop(line.carry(client).await) });
            }
        });
        Self { address, line }
    }

    /// From now on `fault` happens when clients have sent these texts on one connection, in this order, so many times.
    pub fn arm(&self, texts: &[&str], fault: Fault, times: usize) {
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        *self.line.plan.lock().expect("nobody panics with the lock") = Some(Plan { texts, fault, left: times });
    }

    /// From now on what clients send takes its time.
    pub fn slow_down(&self, bytes_a_second: u64) {
        self.line.sent_bytes_a_second.store(bytes_a_second, Ordering::Relaxed);
    }

    /// Nothing goes wrong any more.
    pub fn disarm(&self) {
        *self.line.plan.lock().expect("nobody panics with the lock") = None;
    }

    /// How many times something has gone wrong in all.
    pub fn count(&self) -> usize {
        *self.line.happened.borrow()
    }

    /// Returns when something has gone wrong so many times in all.
    pub async fn happened(&self, times: usize) {
        self.line.happened.subscribe().wait_for(|happened| *happened >= times).await.expect("the sender lives as long as this");
    }
}

/// Which texts of the plan have gone by on a connection, and the end of what was sent, in which the next one may have begun.
#[derive(Default)]
struct Reader {
    passed: usize,
    tail: Vec<u8>,
}

impl Line {
    async fn carry(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut server = TcpStream::connect(&self.service).await?;
        let (mut from_client, mut from_server) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        let mut reader = Reader::default();
        loop {
            tokio::select! {
                count = client.read(&mut from_client) => {
                    let sent = &from_client[..count?];
                    if sent.is_empty() {
                        return Ok(());
                    }
                    match self.due(&mut reader, sent) {
                        None => {
                            server.write_all(sent).await?;
                            if let Some(slowly) = (sent.len() as u64 * 1_000).checked_div(self.sent_bytes_a_second.load(Ordering::Relaxed)) {
                                sleep(Duration::from_millis(slowly)).await;
                            }
                        }
                        Some(fault) => return self.fail(fault, client, server, sent).await,
                    }
                }
                count = server.read(&mut from_server) => {
                    let count = count?;
                    if count == 0 {
                        return Ok(());
                    }
                    client.write_all(&from_server[..count]).await?;
                }
            }
        }
    }

    /// What goes wrong with these bytes, if anything does.
    fn due(&self, reader: &mut Reader, sent: &[u8]) -> Option<Fault> {
        let mut plan = self.plan.lock().expect("nobody panics with the lock");
        let plan = plan.as_mut().filter(|plan| plan.left > 0)?;
        reader.tail.extend_from_slice(sent);
        while let Some(text) = plan.texts.get(reader.passed) {
            let Some(at) = reader.tail.windows(text.len()).position(|bytes| bytes == text.as_bytes()) else {
                // The rest of it may come with the next bytes.
                let kept = reader.tail.len().min(text.len() - 1);
                reader.tail.drain(..reader.tail.len() - kept);
                return None;
            };
            reader.tail.drain(..at + text.len());
            reader.passed += 1;
        }
        *reader = Reader::default();
        plan.left -= 1;
        Some(plan.fault)
    }

    async fn fail(&self, fault: Fault, mut client: TcpStream, mut server: TcpStream, sent: &[u8]) -> std::io::Result<()> {
        let passed = match fault {
            Fault::LoseAnswer | Fault::HoldAnswer => Some(0),
            Fault::CutAnswerAfter(bytes) | Fault::HoldAnswerAfter(bytes) => Some(bytes),
            Fault::Cut | Fault::Hold | Fault::Answer(_) => None,
        };
        if let Some(passed) = passed {
            server.write_all(sent).await?;
            let (mut from_client, mut to_client) = client.split();
            let (from_server, mut to_server) = server.split();
            let answer = async {
                let mut begin = from_server.take(passed);
                copy(&mut begin, &mut to_client).await?;
                // One byte more says that the service has done it.
                begin.into_inner().read(&mut [0]).await
            };
            tokio::select! {
                // Whatever belongs to the question.
                _ = copy(&mut from_client, &mut to_server) => {}
                answered = answer => drop(answered?),
            }
        }
        self.happened.send_modify(|happened| *happened += 1);
        match fault {
            Fault::Cut | Fault::LoseAnswer | Fault::CutAnswerAfter(_) => {}
            Fault::Hold | Fault::HoldAnswer | Fault::HoldAnswerAfter(_) => drop(copy(&mut client, &mut sink()).await?),
            Fault::Answer(answer) => {
                client.write_all(answer.as_bytes()).await?;
                // Whatever else it sends: closed at once, the connection would take the answer with it.
                client.shutdown().await?;
                copy(&mut client, &mut sink()).await?;
            }
        }
        Ok(())
    }
}
