//! What clients were told, and whether it is so.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use bytes::Bytes;
use tintype_client::{CheckEvent, VerifyFindingKind};
use tintype_proto::v1::{DownloadImageRequest, FailureReason, Image, ListImagesRequest, RenditionState};
use tintype_tests::{ADMIN_PASSWORD, Client, Refused, Tintype, Upload, pictures};
use tokio::time::timeout;
use tonic::Code;

use super::lane::resumed;

/// How an operation ended for the client that asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Done,
    Refused,
    /// The answer was lost, or nobody could give one: it was done, or it was not.
    Unknown,
}

/// What all clients of a run were told.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The image of each request, once it was told.
    pub(super) requests: Vec<Option<i64>>,
    /// Images of which the deletion was asked for.
    pub(super) doomed: BTreeSet<i64>,
    /// Images of which it was answered.
    pub(super) gone: BTreeSet<i64>,
    /// Whether the viewer was let in to an image; `None` after an answer that was lost.
    pub(super) shared: BTreeMap<i64, Option<bool>>,
    pub(super) outcomes: BTreeMap<(&'static str, Outcome), usize>,
    /// Faults by kind: how many, the longest time after each until a file was taken, and until it was converted.
    pub(super) faults: BTreeMap<&'static str, (usize, Duration, Duration)>,
}

impl Ledger {
    /// Images that were answered and of which nobody asked for the deletion.
    pub(super) fn images(&self) -> BTreeSet<i64> {
        self.requests.iter().flatten().copied().filter(|id| !self.doomed.contains(id)).collect()
    }

    pub(super) fn note_fault(&mut self, kind: &'static str, taken: Duration, converted: Duration) {
        let noted = self.faults.entry(kind).or_default();
        *noted = (noted.0 + 1, noted.1.max(taken), noted.2.max(converted));
    }

    pub(super) fn print(&self) {
        for (kind, (count, taken, converted)) in &self.faults {
            println!("{count:>5} × {kind}: a file was taken within {taken:.1?}, and converted within {converted:.1?} of its end");
        }
        for ((operation, outcome), count) in &self.outcomes {
            println!("{count:>5} × {operation}: {outcome:?}");
        }
    }
}

/// The answer, `None` when it was lost with the server or the connection, or when nobody could give one.
pub(super) fn answered<T>(outcome: Result<T, Refused>) -> Option<Result<T, Refused>> {
    match outcome {
        Err(refused) if refused.reason.is_empty() || matches!(refused.code, Code::Unavailable | Code::Aborted) => None,
        answered => Some(answered),
    }
}

/// Every so many requests there is a file that is large enough to be interrupted after a part of it is durable.
const LARGE_EVERY: usize = 16;

/// Whether a request is for a file that is sent in several streams.
pub(super) fn is_large(request: usize) -> bool {
    request % LARGE_EVERY == LARGE_EVERY - 1
}

/// Whether it is for a file whose header is true and whose pixels are not.
fn is_broken(request: usize) -> bool {
    !is_large(request) && request % 4 == 3
}

/// The file of a request, always the same.
pub(super) fn file(request: usize) -> Upload {
    let seed = request as u32;
    let name = format!("request-{request}");
    if is_large(request) {
        return Upload::new(&name, pictures::bmp(1_800, 1_700 + seed % 50, seed as u8)).upload_id(&name);
    }
    let bytes = match request % 4 {
        0 => pictures::png(40 + seed % 60, 30, seed),
        1 => pictures::jpeg(30, 40 + seed % 60, seed),
        2 => pictures::bmp(300 + seed % 200, 400, seed as u8),
        _ => {
            let mut broken = pictures::png(200, 100, seed);
            // A true header, then nothing that could be a picture.
            let (middle, end) = (broken.len() / 2, broken.len() - 20);
            broken[middle..end].fill(0xA5);
            broken
        }
    };
    Upload::new(&name, bytes).request_id(&name)
}

/// The request that an image is of.
pub(super) fn request_of(image: &Image) -> Option<usize> {
    image.file_name.strip_prefix("request-")?.parse().ok()
}

pub(super) async fn listed(client: &Client) -> Vec<Image> {
    let mut images = Vec::new();
    let mut request = ListImagesRequest { page_size: 1000, ..ListImagesRequest::default() };
    loop {
        let page = client.images().list_images(request.clone()).await.expect("a list").into_inner();
        images.extend(page.images);
        if page.next_page_token.is_empty() {
            return images;
        }
        request.page_token = page.next_page_token;
    }
}

async fn used_and_seen(client: &Client) -> (i64, i64) {
    let user = client.current_user().await.expect("a user");
    let size = |image: &Image| image.size_bytes + image.renditions.iter().map(|rendition| rendition.size_bytes).sum::<i64>();
    (user.used_bytes, listed(client).await.iter().map(size).sum())
}

/// Compares what was told with what is there, after all operations and faults have ended. Panics with the first difference.
pub(super) async fn check(ledger: &mut Ledger, tintype: &Tintype, client: &Client, viewer: &Client) {
    // Unfinished files are finished, so that nothing is counted that nobody sees; whatever was told before must be told again.
    for request in 0..ledger.requests.len() {
        let told = ledger.requests[request];
        let sent = if is_large(request) { resumed(client, file(request), false).await } else { client.upload(file(request)).await };
        match sent {
            Ok(image) => {
                assert!(told.is_none_or(|told| told == image.id), "request {request} made {told:?} and {}", image.id);
                assert!(!ledger.gone.contains(&image.id), "image {} of request {request} was deleted", image.id);
                ledger.requests[request] = Some(image.id);
            }
            Err(refused) => {
                assert_eq!(refused.kind(), (Code::NotFound, "IMAGE_NOT_FOUND"), "request {request}: {refused:?}");
                assert!(told.is_none_or(|told| ledger.doomed.contains(&told)), "request {request}: nobody deleted {told:?}");
            }
        }
    }
    // The oldest first, about as they are made: after a long run hundreds wait behind each other.
    for image in listed(client).await.into_iter().rev() {
        client.settled(image.id).await;
    }
    // Of streams that broke the server hears a moment later than the client.
    let agreed = async {
        loop {
            let (used, seen) = used_and_seen(client).await;
            if used == seen {
                return;
            }
        }
    };
    let Ok(()) = timeout(Duration::from_secs(20), agreed).await else {
        panic!("{:?} bytes are used and seen", used_and_seen(client).await)
    };

    let images = listed(client).await;
    let ids: BTreeSet<_> = images.iter().map(|image| image.id).collect();
    let alive = ledger.images();
    assert!(alive.is_subset(&ids), "answered done and not there: {:?}", alive.difference(&ids));
    assert!(ledger.gone.is_disjoint(&ids), "answered deleted and there: {:?}", ledger.gone.intersection(&ids));
    let mut seen = HashSet::new();
    for image in &images {
        let request = request_of(image).unwrap_or_else(|| panic!("a file that was refused is there: {image:?}"));
        assert!(seen.insert(request), "request {request} has two images");
        check_image(client, image, request).await;
        let shared = ledger.shared.get(&image.id).copied().unwrap_or(Some(false));
        match (viewer.image(image.id).await, shared) {
            (Ok(_), Some(true) | None) => {}
            (Err(refused), Some(false) | None) => assert_eq!(refused.kind(), (Code::NotFound, "IMAGE_NOT_FOUND")),
            (seen, shared) => panic!("image {}: shared is {shared:?}, and the viewer got {seen:?}", image.id),
        }
    }
    check_blobs(tintype).await;
}

async fn check_image(client: &Client, image: &Image, request: usize) {
    let original = client.original(image).await.unwrap_or_else(|refused| panic!("image {} is visible: {refused:?}", image.id));
    let sent: Bytes = file(request).bytes;
    assert!(original.bytes == sent, "image {} is not what was sent for request {request}", image.id);
    let mut specs = HashSet::new();
    for rendition in &image.renditions {
        let spec = format!("{:?}", rendition.spec);
        assert!(specs.insert(spec), "image {} has two renditions of one spec: {:?}", image.id, image.renditions);
        match rendition.state() {
            RenditionState::Ready => {
                let request = DownloadImageRequest { rendition_id: rendition.id, ..DownloadImageRequest::default() };
                let made = client.download(request).await.unwrap_or_else(|refused| panic!("{rendition:?} is ready: {refused:?}"));
                assert_eq!(made.bytes.len() as i64, rendition.size_bytes, "{rendition:?}");
                image::load_from_memory(&made.bytes).unwrap_or_else(|error| panic!("{rendition:?} is no picture: {error}"));
            }
            RenditionState::Failed => {
                let failure = rendition.failure.as_ref().unwrap_or_else(|| panic!("{rendition:?} says no reason"));
                let exhausted = FailureReason::AttemptsExhausted;
                assert!(is_broken(request) || failure.reason() == exhausted, "{rendition:?} of a good file");
            }
            _ => panic!("{rendition:?} of image {} is not decided", image.id),
        }
    }
}

/// Every row has its bytes. Bytes without a row are young: a crash leaves some, for at most 48 hours.
async fn check_blobs(tintype: &Tintype) {
    let admin = tintype_client::Client::builder(&tintype.grpc_url).password("admin", ADMIN_PASSWORD).build().expect("a client");
    let mut verifying = admin.admin().verify().start();
    while let Some(event) = verifying.next().await.expect("the check goes on") {
        if let CheckEvent::Finding(finding) = event {
            assert_eq!(finding.kind, VerifyFindingKind::OrphanBlob, "{finding:?}");
        }
    }
}
