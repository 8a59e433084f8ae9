//! A tonic server that does nothing but send chunks from memory: what the transport allows.

use std::{convert::Infallible, net::Ipv4Addr, task::Poll};

use bytes::Bytes;
use http::{Request, Response, uri::PathAndQuery};
use tintype_proto::v1::{DownloadChunk, DownloadImageRequest, DownloadImageResponse, download_image_response::Message};
use tokio::net::TcpListener;
use tokio_stream::{Iter, wrappers::TcpListenerStream};
use tonic::{
    Status, Streaming,
    body::Body,
    client,
    server::{self, NamedService, ServerStreamingService},
    transport::{Channel, Endpoint, Server},
};
use tonic_prost::ProstCodec;
use tower::Service;

use super::CHUNK_BYTES;

const PATH: &str = "/bare.Service/Download";

/// Serves on a port of its own, says which on standard output, and goes on until it is killed.
pub(crate) async fn serve(size_bytes: usize) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("http://{}", listener.local_addr()?);
    let chunks = Chunks(Bytes::from(vec![7; size_bytes]));
    Ok(Server::builder().add_service(chunks).serve_with_incoming(TcpListenerStream::new(listener)).await?)
}

/// What is sent, cut into the chunks of the service.
#[derive(Debug, Clone)]
struct Chunks(Bytes);

impl NamedService for Chunks {
    const NAME: &'static str = "bare.Service";
}

impl Service<Request<Body>> for Chunks {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let chunks = self.clone();
        Box::pin(async move { Ok(server::Grpc::new(ProstCodec::default()).server_streaming(chunks, request).await) })
    }
}

impl ServerStreamingService<DownloadImageRequest> for Chunks {
    type Response = DownloadImageResponse;
    type ResponseStream = Iter<std::vec::IntoIter<Result<DownloadImageResponse, Status>>>;
    type Future = std::future::Ready<Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: tonic::Request<DownloadImageRequest>) -> Self::Future {
        let messages: Vec<_> = (0..self.0.len())
            .step_by(CHUNK_BYTES)
            .map(|begin| {
                let data = self.0.slice(begin..self.0.len().min(begin + CHUNK_BYTES));
                Ok(DownloadImageResponse { message: Some(Message::Chunk(DownloadChunk { data })) })
            })
            .collect();
        std::future::ready(Ok(tonic::Response::new(tokio_stream::iter(messages))))
    }
}

/// A client of [`serve`].
pub(super) struct Client(client::Grpc<Channel>);

impl Client {
    pub(super) async fn connect(url: String) -> anyhow::Result<Self> {
        Ok(Self(client::Grpc::new(Endpoint::from_shared(url)?.connect().await?)))
    }

    pub(super) async fn download(&mut self) -> anyhow::Result<Streaming<DownloadImageResponse>> {
        self.0.ready().await?;
        let request = tonic::Request::new(DownloadImageRequest::default());
        let codec = ProstCodec::<DownloadImageRequest, DownloadImageResponse>::default();
        Ok(self.0.server_streaming(request, PathAndQuery::from_static(PATH), codec).await?.into_inner())
    }
}
