//! What a user is said to store is what can be seen, whatever happened: many things at once, in any order, and kills in between.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use tintype_proto::v1::{DeleteImageRequest, Image, ListImagesRequest, RenditionState, RetryRenditionRequest, UploadImagesRequest};
use tintype_tests::{Client, Random, Refused, Tintype, Upload, number, pictures, seed};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

/// So many things happen at once.
const LANES: usize = 4;
/// At most so many of them happen between two kills.
const BETWEEN_KILLS: usize = 40;

/// What was told to the client.
#[derive(Debug, Default)]
struct Told {
    /// The image of each request, once it was told.
    requests: Vec<Option<i64>>,
    /// Images of which the deletion was asked for.
    doomed: BTreeSet<i64>,
    /// Images of which it was answered.
    gone: BTreeSet<i64>,
}

impl Told {
    fn images(&self) -> BTreeSet<i64> {
        self.requests.iter().flatten().copied().filter(|id| !self.doomed.contains(id)).collect()
    }
}

#[derive(Clone)]
struct Lane {
    /// Where the server is, as long as it is there.
    home: watch::Receiver<Option<Client>>,
    told: Arc<Mutex<Told>>,
    random: Random,
}

/// The file of a request, always the same.
fn file(request: usize) -> Upload {
    let seed = request as u32;
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
    Upload::new(&format!("{request}"), bytes).request_id(&format!("request-{request}"))
}

/// The answer, `None` when it was lost with the server or the connection.
fn answered<T>(outcome: Result<T, Refused>) -> Option<Result<T, Refused>> {
    match outcome {
        Err(refused) if refused.reason.is_empty() || refused.code == Code::Unavailable => None,
        answered => Some(answered),
    }
}

impl Lane {
    async fn client(&mut self) -> Client {
        self.home.wait_for(Option::is_some).await.expect("the test goes on").clone().expect("it is there")
    }

    fn told<T>(&self, note: impl FnOnce(&mut Told) -> T) -> T {
        note(&mut self.told.lock().expect("no lane panics with the lock"))
    }

    async fn do_something(&mut self) {
        match self.random.below(100) {
            0..45 => self.upload().await,
            45..55 => self.repeat().await,
            55..63 => self.fail().await,
            63..73 => self.break_off().await,
            73..90 => self.delete().await,
            _ => self.retry().await,
        }
    }

    async fn upload(&mut self) {
        let request = self.told(|told| {
            told.requests.push(None);
            told.requests.len() - 1
        });
        self.send(request).await;
    }

    async fn repeat(&mut self) {
        let sent = self.told(|told| told.requests.len());
        if sent > 0 {
            let request = self.random.below(sent);
            self.send(request).await;
        }
    }

    async fn send(&mut self, request: usize) {
        match answered(self.client().await.upload(file(request)).await) {
            Some(Ok(image)) => {
                let before = self.told(|told| told.requests[request].replace(image.id));
                assert!(before.is_none_or(|before| before == image.id), "request {request} made {before:?} and {}", image.id);
            }
            Some(Err(refused)) => {
                assert_eq!(refused.kind(), (Code::NotFound, "IMAGE_NOT_FOUND"), "request {request}: {refused:?}");
                let id = self.told(|told| told.requests[request].filter(|id| !told.doomed.contains(id)));
                assert_eq!(id, None, "request {request}: nobody deleted it");
            }
            None => {}
        }
    }

    /// Sends a file that cannot become an image.
    async fn fail(&mut self) {
        let mut upload = file(2);
        upload.start.request_id.clear();
        match self.random.below(3) {
            0 => upload.bytes = Bytes::from_static(b"no picture at all"),
            1 => upload.start.sha256 = Bytes::from_static(&[7; 32]),
            _ => upload.start.size_bytes = upload.bytes.len() as i64 + 1,
        }
        let outcome = answered(self.client().await.upload(upload).await);
        assert!(outcome.as_ref().is_none_or(Result::is_err), "{outcome:?}");
    }

    /// Leaves in the middle of a file.
    async fn break_off(&mut self) {
        let (sender, receiver) = mpsc::channel::<UploadImagesRequest>(4);
        for message in file(2).messages().take(2) {
            sender.send(message).await.expect("there is room");
        }
        let answers = self.client().await.images().upload_images(ReceiverStream::new(receiver)).await;
        if let Ok(answers) = answers {
            // Once it has started, or not any more.
            let _ = answers.into_inner().message().await;
        }
    }

    async fn delete(&mut self) {
        let images = self.told(|told| Vec::from_iter(told.images()));
        if images.is_empty() {
            return;
        }
        let id = images[self.random.below(images.len())];
        // Somebody else may be at it.
        let is_mine = self.told(|told| told.doomed.insert(id));
        let mut images = self.client().await.images();
        match answered(images.delete_image(DeleteImageRequest { id }).await.map_err(Refused::from)) {
            Some(Ok(_)) => drop(self.told(|told| told.gone.insert(id))),
            Some(Err(refused)) => assert!(!is_mine && refused.reason == "IMAGE_NOT_FOUND", "image {id}: {refused:?}"),
            None => {}
        }
    }

    /// Asks for one that failed again.
    async fn retry(&mut self) {
        let images = self.told(|told| Vec::from_iter(told.images()));
        if images.is_empty() {
            return;
        }
        let id = images[self.random.below(images.len())];
        let client = self.client().await;
        let Ok(image) = client.image(id).await else { return };
        for rendition in image.renditions.iter().filter(|rendition| rendition.state() == RenditionState::Failed) {
            // It may be deleted, or be asked for by another by now.
            let _ = client.images().retry_rendition(RetryRenditionRequest { rendition_id: rendition.id }).await;
        }
    }
}

async fn listed(client: &Client) -> Vec<Image> {
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
    let used = client.current_user().await.expect("a user").used_bytes;
    let size = |image: &Image| image.size_bytes + image.renditions.iter().map(|rendition| rendition.size_bytes).sum::<i64>();
    (used, listed(client).await.iter().map(size).sum())
}

async fn usage_is_what_is_seen(mut tintype: Tintype) {
    let operations = number("TINTYPE_TEST_OPERATIONS", 120);
    let mut random = Random::new(seed());
    let client = tintype.client().await;
    let token = client.token.clone();
    let home = watch::Sender::new(Some(client));
    let told = Arc::new(Mutex::new(Told::default()));
    let begun = Arc::new(AtomicUsize::new(0));
    let (sender, mut done) = mpsc::unbounded_channel();
    let lanes: Vec<_> = (0..LANES)
        .map(|_| {
            let mut lane = Lane { home: home.subscribe(), told: Arc::clone(&told), random: Random::new(random.below(1 << 31) as u64) };
            let (begun, sender) = (Arc::clone(&begun), sender.clone());
            tokio::spawn(async move {
                while begun.fetch_add(1, Relaxed) < operations {
                    lane.do_something().await;
                    sender.send(()).expect("the test listens");
                }
            })
        })
        .collect();
    drop(sender);

    let (mut servers_killed, mut workers_killed) = (0, 0);
    let mut until_kill = random.below(BETWEEN_KILLS);
    while done.recv().await.is_some() {
        if until_kill > 0 {
            until_kill -= 1;
            continue;
        }
        until_kill = random.below(BETWEEN_KILLS);
        if !tintype.workers.is_empty() && random.below(2) == 0 {
            tintype.workers.remove(0).kill().await;
            tintype.start_worker();
            workers_killed += 1;
        } else {
            // What is begun by now is cut off; nobody else runs into the gap.
            home.send_replace(None);
            tintype.kill_server().await;
            tintype.start_server().await;
            home.send_replace(Some(Client { token: token.clone(), ..tintype.stranger().await }));
            servers_killed += 1;
        }
    }
    for lane in join_all(lanes).await {
        lane.expect("a lane does not panic");
    }

    // Whatever is made now counts as it is made; workers that are gone make nothing.
    let client = Client { token, ..tintype.stranger().await };
    if tintype.workers.is_empty() {
        for image in listed(&client).await {
            client.settled(image.id).await;
        }
    }
    for mut worker in tintype.workers.drain(..) {
        worker.terminate();
        assert!(worker.ended().await.success());
    }
    // Of streams that broke the server hears a moment later than the client.
    let agreed = async {
        loop {
            let (used, seen) = used_and_seen(&client).await;
            if used == seen {
                return used;
            }
        }
    };
    let Ok(used) = timeout(Duration::from_secs(20), agreed).await else {
        panic!("{:?} bytes are used and seen", used_and_seen(&client).await)
    };
    tintype.kill_server().await;
    tintype.start_server().await;
    let client = Client { token: client.token, ..tintype.stranger().await };
    assert_eq!(used_and_seen(&client).await, (used, used), "what was counted in memory alone");

    let images = listed(&client).await;
    let ids: BTreeSet<_> = images.iter().map(|image| image.id).collect();
    let told = told.lock().expect("no lane panicked");
    assert!(told.images().is_subset(&ids), "answered done and not there: {:?}", told.images().difference(&ids));
    assert!(told.gone.is_disjoint(&ids), "answered deleted and there: {:?}", told.gone.intersection(&ids));
    let ready = images.iter().flat_map(|image| &image.renditions).filter(|rendition| rendition.state() == RenditionState::Ready).count();
    assert!(used > 0 && ready > 0 && servers_killed + workers_killed > 0 && !told.gone.is_empty(), "too little happened");
    println!(
        "{operations} operations, {servers_killed} servers and {workers_killed} workers killed: {} images with {ready} ready renditions and {used} \
         bytes are left, {} were deleted",
        images.len(),
        told.gone.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_what_is_seen_after_anything_embedded() {
    usage_is_what_is_seen(Tintype::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_what_is_seen_after_anything_in_a_cluster() {
    usage_is_what_is_seen(Tintype::cluster(2).await).await;
}
