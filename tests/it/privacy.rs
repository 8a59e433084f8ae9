//! What others can tell of an image that is not shared with them: nothing.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use prost::Message as _;
use prost_types::FieldMask;
use tintype_proto::v1::{
    CancelUploadRequest, CreateDownloadUrlRequest, CreateRenditionRequest, DeleteImageRequest, DeleteUserRequest, DownloadImageRequest,
    DownloadImagesRequest, DownloadImagesResponse, Everyone, FinishUploadRequest, GetImageRequest, GetUploadRequest, GetUserRequest, Image,
    ImageFormat, ListFailuresRequest, ListImagesRequest, ListSharesRequest, ListTokensRequest, ListUsersRequest, RenditionSpec,
    RetryFailuresRequest, RetryRenditionRequest, RevokeTokenRequest, ShareImageRequest, ShareParty, ShareRole, UnshareImageRequest,
    UpdateImageRequest, UpdateUserRequest, User, VerifyRequest, WatchImagesRequest, admin_service_client::AdminServiceClient,
    download_images_response, share_party, user_service_client::UserServiceClient,
};
use tintype_tests::{Client, Tintype, Upload, Watcher, number, pictures};
use tonic::{Code, Status, service::interceptor::InterceptedService, transport::Channel};

use crate::access::every_path;

/// Names of things, of the victim's or of nothing.
#[derive(Debug, Clone)]
struct Names {
    image: i64,
    rendition: i64,
    user: i64,
    token: i64,
    upload: String,
    page_token: String,
    resume_token: String,
}

type Call = for<'a> fn(&'a Client, &'a Names) -> BoxFuture<'a, Result<(), Status>>;

/// A place where a method takes a name.
struct Probe {
    method: &'static str,
    position: &'static str,
    call: Call,
    /// What a viewer and an editor of the image are answered; `Code::NotFound` where it is none of their business either.
    viewer: Code,
    editor: Code,
}

macro_rules! probe {
    ($method:literal, $position:literal, $viewer:ident, $editor:ident, |$client:ident, $names:ident| $call:expr) => {
        Probe {
            method: $method,
            position: $position,
            call: |$client, $names| Box::pin(async move { $call.map(|_| ()) }),
            viewer: Code::$viewer,
            editor: Code::$editor,
        }
    };
}

fn users(client: &Client) -> UserServiceClient<InterceptedService<Channel, tintype_tests::Bearer>> {
    UserServiceClient::with_interceptor(client.channel.clone(), client.bearer())
}

fn everyone() -> ShareParty {
    ShareParty { party: Some(share_party::Party::Everyone(Everyone {})) }
}

/// The first message of a stream.
async fn first<T>(answer: Result<tonic::Response<tonic::Streaming<T>>, Status>) -> Result<(), Status> {
    answer?.into_inner().message().await.map(|_| ())
}

/// Whether the first of many pictures can be had.
async fn found(answer: Result<tonic::Response<tonic::Streaming<DownloadImagesResponse>>, Status>) -> Result<(), Status> {
    match answer?.into_inner().message().await?.and_then(|first| first.message) {
        Some(download_images_response::Message::Missing(missing)) => {
            let status = missing.status.expect("it says why");
            Err(Status::with_details(Code::from_i32(status.code), status.message.clone(), status.encode_to_vec().into()))
        }
        _ => Ok(()),
    }
}

/// Methods that take no name of anything that somebody else has.
const NAMELESS: [&str; 8] = [
    "AdminService/GetStats",
    "AuthService/CreateToken",
    "AuthService/GetCurrentUser",
    "AuthService/ChangePassword",
    "ImageService/CreateUploadUrl",
    "ImageService/UploadImages",
    "ImageService/GetLimits",
    "UserService/CreateUser",
];

fn download(image_id: i64, format: ImageFormat, wait: bool) -> DownloadImageRequest {
    DownloadImageRequest { image_id, format: format.into(), wait, ..DownloadImageRequest::default() }
}

/// Every place where a method takes a name.
fn probes() -> Vec<Probe> {
    vec![
        probe!("ImageService/GetImage", "id", Ok, Ok, |c, n| c.images().get_image(GetImageRequest { id: n.image }).await),
        probe!("ImageService/DownloadImage", "image_id, original", Ok, Ok, |c, n| {
            first(c.images().download_image(download(n.image, ImageFormat::Png, false)).await).await
        }),
        probe!("ImageService/DownloadImage", "image_id, rendition, wait", Ok, Ok, |c, n| {
            first(c.images().download_image(download(n.image, ImageFormat::Jpeg, true)).await).await
        }),
        probe!("ImageService/DownloadImage", "image_id, never made", NotFound, NotFound, |c, n| {
            first(c.images().download_image(download(n.image, ImageFormat::Bmp, false)).await).await
        }),
        probe!("ImageService/DownloadImage", "rendition_id", Ok, Ok, |c, n| {
            let request = DownloadImageRequest { rendition_id: n.rendition, ..DownloadImageRequest::default() };
            first(c.images().download_image(request).await).await
        }),
        probe!("ImageService/DownloadImages", "image_ids", Ok, Ok, |c, n| {
            let request = DownloadImagesRequest { image_ids: vec![n.image], ..DownloadImagesRequest::default() };
            found(c.images().download_images(request).await).await
        }),
        probe!("ImageService/GetUpload", "upload_id", NotFound, NotFound, |c, n| {
            c.images().get_upload(GetUploadRequest { upload_id: n.upload.clone() }).await
        }),
        probe!("ImageService/CancelUpload", "upload_id", NotFound, NotFound, |c, n| {
            c.images().cancel_upload(CancelUploadRequest { upload_id: n.upload.clone() }).await
        }),
        probe!("ImageService/FinishUpload", "upload_id", NotFound, NotFound, |c, n| {
            c.images().finish_upload(FinishUploadRequest { upload_id: n.upload.clone() }).await
        }),
        probe!("ImageService/CreateDownloadUrl", "image_id", Ok, Ok, |c, n| {
            let request = CreateDownloadUrlRequest { image_id: n.image, ..CreateDownloadUrlRequest::default() };
            c.images().create_download_url(request).await
        }),
        probe!("ImageService/CreateDownloadUrl", "rendition_id", Ok, Ok, |c, n| {
            let request = CreateDownloadUrlRequest { rendition_id: n.rendition, ..CreateDownloadUrlRequest::default() };
            c.images().create_download_url(request).await
        }),
        probe!("ImageService/ListImages", "page_token", InvalidArgument, InvalidArgument, |c, n| {
            c.images().list_images(ListImagesRequest { page_token: n.page_token.clone(), ..ListImagesRequest::default() }).await
        }),
        probe!("ImageService/RetryRendition", "rendition_id", PermissionDenied, FailedPrecondition, |c, n| {
            c.images().retry_rendition(RetryRenditionRequest { rendition_id: n.rendition }).await
        }),
        probe!("ImageService/CreateRendition", "image_id", PermissionDenied, Ok, |c, n| {
            let spec = Some(RenditionSpec { format: ImageFormat::Jpeg.into(), ..RenditionSpec::default() });
            c.images().create_rendition(CreateRenditionRequest { image_id: n.image, spec }).await
        }),
        probe!("ImageService/UpdateImage", "image.id", PermissionDenied, Ok, |c, n| {
            let image = Some(Image { id: n.image, file_name: "mine.png".to_owned(), ..Image::default() });
            let update_mask = Some(FieldMask { paths: vec!["file_name".to_owned()] });
            c.images().update_image(UpdateImageRequest { image, update_mask }).await
        }),
        probe!("ImageService/DeleteImage", "id", PermissionDenied, PermissionDenied, |c, n| {
            c.images().delete_image(DeleteImageRequest { id: n.image }).await
        }),
        probe!("ImageService/ShareImage", "image_id", PermissionDenied, PermissionDenied, |c, n| {
            c.images().share_image(ShareImageRequest { image_id: n.image, party: Some(everyone()), role: ShareRole::Viewer.into() }).await
        }),
        probe!("ImageService/UnshareImage", "image_id", PermissionDenied, PermissionDenied, |c, n| {
            c.images().unshare_image(UnshareImageRequest { image_id: n.image, party: Some(everyone()) }).await
        }),
        probe!("ImageService/ListShares", "image_id", PermissionDenied, PermissionDenied, |c, n| {
            c.images().list_shares(ListSharesRequest { image_id: n.image }).await
        }),
        probe!("ImageService/WatchImages", "image_ids", Ok, Ok, |c, n| {
            let request = WatchImagesRequest { image_ids: vec![n.image], ..WatchImagesRequest::default() };
            first(c.images().watch_images(request).await).await
        }),
        probe!("ImageService/WatchImages", "resume_token", InvalidArgument, InvalidArgument, |c, n| {
            let request = WatchImagesRequest { resume_token: n.resume_token.clone(), ..WatchImagesRequest::default() };
            first(c.images().watch_images(request).await).await
        }),
        probe!("ImageService/WatchImages", "image_ids with resume_token", InvalidArgument, InvalidArgument, |c, n| {
            let request = WatchImagesRequest { resume_token: n.resume_token.clone(), image_ids: vec![n.image] };
            first(c.images().watch_images(request).await).await
        }),
        probe!("AuthService/ListTokens", "user_id", PermissionDenied, PermissionDenied, |c, n| {
            c.auth().list_tokens(ListTokensRequest { user_id: n.user, ..ListTokensRequest::default() }).await
        }),
        probe!("AuthService/RevokeToken", "token_id", NotFound, NotFound, |c, n| {
            c.auth().revoke_token(RevokeTokenRequest { token_id: n.token, ..RevokeTokenRequest::default() }).await
        }),
        probe!("AuthService/RevokeToken", "user_id", PermissionDenied, PermissionDenied, |c, n| {
            c.auth().revoke_token(RevokeTokenRequest { token_id: n.token, user_id: n.user }).await
        }),
        probe!("AdminService/ListFailures", "page_token", PermissionDenied, PermissionDenied, |c, n| {
            let request = ListFailuresRequest { page_token: n.page_token.clone(), ..ListFailuresRequest::default() };
            AdminServiceClient::with_interceptor(c.channel.clone(), c.bearer()).list_failures(request).await
        }),
        probe!("AdminService/RetryFailures", "rendition_ids", PermissionDenied, PermissionDenied, |c, n| {
            let request = RetryFailuresRequest { rendition_ids: vec![n.rendition], ..RetryFailuresRequest::default() };
            AdminServiceClient::with_interceptor(c.channel.clone(), c.bearer()).retry_failures(request).await
        }),
        probe!("AdminService/Verify", "resume_token", PermissionDenied, PermissionDenied, |c, n| {
            let request = VerifyRequest { resume_token: n.page_token.clone(), ..VerifyRequest::default() };
            first(AdminServiceClient::with_interceptor(c.channel.clone(), c.bearer()).verify(request).await).await
        }),
        probe!("UserService/GetUser", "id", PermissionDenied, PermissionDenied, |c, n| users(c)
            .get_user(GetUserRequest { id: n.user })
            .await),
        probe!("UserService/ListUsers", "page_token", PermissionDenied, PermissionDenied, |c, n| {
            users(c).list_users(ListUsersRequest { page_token: n.page_token.clone(), ..ListUsersRequest::default() }).await
        }),
        probe!("UserService/UpdateUser", "user.id", PermissionDenied, PermissionDenied, |c, n| {
            let user = Some(User { id: n.user, disabled: true, ..User::default() });
            let update_mask = Some(FieldMask { paths: vec!["disabled".to_owned()] });
            users(c).update_user(UpdateUserRequest { user, update_mask, ..UpdateUserRequest::default() }).await
        }),
        probe!("UserService/DeleteUser", "id", PermissionDenied, PermissionDenied, |c, n| {
            users(c).delete_user(DeleteUserRequest { id: n.user }).await
        }),
    ]
}

/// Code, message and details as they come over the wire.
fn bytes(status: &Status) -> Vec<u8> {
    let head = format!("{:?}\0{}\0", status.code(), status.message());
    [head.as_bytes(), status.details()].concat()
}

/// Whether an answer is the same as the one for a [`missing`] name, but for the digits of that.
fn differ_in_names_alone(one: &Status, missing: &Status) -> bool {
    let (one, other) = (bytes(one), bytes(missing));
    let same = |(a, b): (&u8, &u8)| a == b || (a.is_ascii_digit() && *b == b'9');
    one.len() == other.len() && one.iter().zip(&other).all(same)
}

/// A name of as many digits that nothing has, all of them 9.
fn missing(id: i64) -> i64 {
    let missing = 10_i64.pow(id.ilog10() + 1) - 1;
    assert_ne!(id, missing);
    missing
}

/// The owner's image and its names, and what nothing has.
async fn names(tintype: &Tintype, owner: &Client) -> (Names, Names) {
    let upload = "7".repeat(12);
    let image = owner.upload(Upload::new("mine.png", pictures::png(40, 30, 1)).upload_id(&upload)).await.expect("an image");
    let image = owner.settled(image.id).await;
    owner.upload(Upload::new("other.png", pictures::png(40, 30, 2))).await.expect("another image, for a second page");
    let list = ListImagesRequest { page_size: 1, ..ListImagesRequest::default() };
    let mut watcher = Watcher::start(owner, &[], "").await.expect("a watch");
    watcher.next().await.expect("it tells");
    let user = tintype.catalog().await.user_by_name("owner").await.expect("an answer").expect("there is one").id.0;
    let token = owner.auth().list_tokens(ListTokensRequest::default()).await.expect("a list").into_inner().tokens[0].id;
    let victims = Names {
        image: image.id,
        rendition: image.renditions[0].id,
        user,
        token,
        upload,
        page_token: owner.images().list_images(list).await.expect("a page").into_inner().next_page_token,
        resume_token: watcher.resume_token,
    };
    assert!(!victims.page_token.is_empty());
    let nothings = Names {
        image: missing(victims.image),
        rendition: missing(victims.rendition),
        user: missing(victims.user),
        token: missing(victims.token),
        upload: "9".repeat(victims.upload.len()),
        page_token: "A".repeat(victims.page_token.len()),
        resume_token: "A".repeat(victims.resume_token.len()),
    };
    (victims, nothings)
}

async fn a_stranger_is_answered_as_if_nothing_were_there(tintype: Tintype) {
    for name in ["owner", "viewer", "editor", "stranger"] {
        tintype.add_user(name).await;
    }
    let owner = tintype.client_of("owner").await;
    let (victims, nothings) = names(&tintype, &owner).await;
    for (name, role) in [("viewer", ShareRole::Viewer), ("editor", ShareRole::Editor)] {
        let party = Some(ShareParty { party: Some(share_party::Party::Username(name.to_owned())) });
        let request = ShareImageRequest { image_id: victims.image, party, role: role.into() };
        owner.images().share_image(request).await.expect("the owner shares");
    }

    // A method that is in no table here is new: what does it tell to strangers?
    let paths = every_path(&owner.channel).await;
    let methods: BTreeSet<_> = paths.iter().filter_map(|path| path.strip_prefix("/tintype.v1.")).collect();
    let probed: BTreeSet<_> = probes().iter().map(|probe| probe.method).collect();
    let known: BTreeSet<_> = NAMELESS.into_iter().chain(probed).collect();
    assert_eq!(methods, known, "every method either takes no names or is probed");

    let code = |answer: &Result<(), Status>| answer.as_ref().err().map_or(Code::Ok, Status::code);
    let stranger = tintype.client_of("stranger").await;
    let (viewer, editor) = (tintype.client_of("viewer").await, tintype.client_of("editor").await);
    let mut seen = Vec::new();
    for probe in probes() {
        let case = format!("{} {}", probe.method, probe.position);
        let foreign = (probe.call)(&stranger, &victims).await.expect_err(&case);
        let absent = (probe.call)(&stranger, &nothings).await.expect_err(&case);
        assert!(differ_in_names_alone(&foreign, &absent), "{case}: {foreign:?} is not {absent:?}");
        for (client, expected) in [(&viewer, probe.viewer), (&editor, probe.editor)] {
            let answer = (probe.call)(client, &victims).await;
            assert_eq!(code(&answer), expected, "{case}: {answer:?}");
            let absent = (probe.call)(client, &nothings).await.expect_err(&case);
            assert!(absent.code() == foreign.code(), "{case}: {absent:?}");
        }
        seen.push(format!("{case}: stranger {:?}, viewer {:?}, editor {:?}", foreign.code(), probe.viewer, probe.editor));
    }
    // The administrator runs the service and sees nobody's images.
    let admin = tintype.client().await;
    for probe in probes().into_iter().filter(|probe| probe.method.starts_with("ImageService/")) {
        let case = format!("{} {}", probe.method, probe.position);
        let foreign = (probe.call)(&admin, &victims).await.expect_err(&case);
        let absent = (probe.call)(&admin, &nothings).await.expect_err(&case);
        assert!(differ_in_names_alone(&foreign, &absent), "{case}: {foreign:?} is not {absent:?}");
    }
    println!("{}", seen.join("\n"));
    assert_eq!(owner.image(victims.image).await.expect("it is still there").renditions.len(), 1);
}

#[tokio::test]
async fn a_stranger_is_answered_as_if_nothing_were_there_embedded() {
    a_stranger_is_answered_as_if_nothing_were_there(Tintype::embedded().await).await;
}

#[tokio::test]
async fn a_stranger_is_answered_as_if_nothing_were_there_in_a_cluster() {
    a_stranger_is_answered_as_if_nothing_were_there(Tintype::cluster(1).await).await;
}

async fn an_answer_takes_as_long_for_what_is_hidden_as_for_what_is_missing(tintype: Tintype) {
    for name in ["owner", "stranger"] {
        tintype.add_user(name).await;
    }
    let owner = tintype.client_of("owner").await;
    let (victims, nothings) = names(&tintype, &owner).await;
    let stranger = tintype.client_of("stranger").await;
    let rounds = number("TINTYPE_TIMING_ROUNDS", 400);
    let wanted = ["ImageService/GetImage", "ImageService/RetryRendition", "ImageService/DeleteImage", "ImageService/ShareImage"];
    for probe in probes().into_iter().filter(|probe| wanted.contains(&probe.method)) {
        let mut times: [Vec<Duration>; 2] = Default::default();
        // One after the other, so that whatever else the machine does meets both alike.
        for _ in 0..rounds {
            for (names, times) in [&victims, &nothings].into_iter().zip(&mut times) {
                let begin = Instant::now();
                (probe.call)(&stranger, names).await.expect_err("not theirs");
                times.push(begin.elapsed());
            }
        }
        let [hidden, missing] = times.map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2]
        });
        println!("{} {}: hidden {hidden:?}, missing {missing:?}, medians of {rounds}", probe.method, probe.position);
        let (less, more) = (hidden.min(missing), hidden.max(missing));
        assert!(more < less * 2, "{}: hidden {hidden:?}, missing {missing:?}", probe.method);
    }
}

#[tokio::test]
async fn an_answer_takes_as_long_for_what_is_hidden_as_for_what_is_missing_embedded() {
    an_answer_takes_as_long_for_what_is_hidden_as_for_what_is_missing(Tintype::embedded().await).await;
}

#[tokio::test]
async fn an_answer_takes_as_long_for_what_is_hidden_as_for_what_is_missing_in_a_cluster() {
    an_answer_takes_as_long_for_what_is_hidden_as_for_what_is_missing(Tintype::cluster(1).await).await;
}
