//! Connections that break.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Passes connections on to `url`, and returns its own. The first connections are cut after so many bytes from the server each.
pub(crate) async fn cutting_proxy(url: &str, mut cut_after_bytes: Vec<usize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = format!("http://{}", listener.local_addr().unwrap());
    let target = url.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let mut left = if cut_after_bytes.is_empty() { usize::MAX } else { cut_after_bytes.remove(0) };
            let (mut from_server, mut to_server) = TcpStream::connect(&target).await.unwrap().into_split();
            let (mut from_client, mut to_client) = client.into_split();
            let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
                    let passed = read.min(left);
                    left -= passed;
                    if to_client.write_all(&buffer[..passed]).await.is_err() || left == 0 {
                        break;
                    }
                }
                up.abort();
            });
        }
    });
    own
}
