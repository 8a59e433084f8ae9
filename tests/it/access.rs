//! Who may call what, and whose images are seen.

use prost::Message;
use prost_types::FileDescriptorProto;
use tintype_proto::v1::{
    CreateRenditionRequest, DeleteImageRequest, DownloadImageRequest, GetCurrentUserRequest, Image, ImageFormat, ListImagesRequest,
    RenditionSpec, RetryRenditionRequest, UpdateImageRequest, auth_service_client::AuthServiceClient,
};
use tintype_tests::{ADMIN_PASSWORD, Client, Refused, Tintype, Upload, pictures, sign_in};
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};

/// Asks reflection one question.
async fn reflect(channel: &Channel, question: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut client = ServerReflectionClient::new(channel.clone());
    let answers = client.server_reflection_info(tokio_stream::iter([request])).await.expect("reflection is open to everyone");
    let answer = answers.into_inner().message().await.expect("reflection answers").expect("one answer for one question");
    answer.message_response.expect("an answer says something")
}

/// The path of every rpc that the server says it has.
pub(crate) async fn every_path(channel: &Channel) -> Vec<String> {
    let MessageResponse::ListServicesResponse(services) = reflect(channel, MessageRequest::ListServices(String::new())).await else {
        panic!("reflection lists the services");
    };
    let mut paths = Vec::new();
    for service in services.service {
        let question = MessageRequest::FileContainingSymbol(service.name.clone());
        let MessageResponse::FileDescriptorResponse(files) = reflect(channel, question).await else {
            panic!("reflection knows {}", service.name);
        };
        for file in files.file_descriptor_proto {
            let file = FileDescriptorProto::decode(file.as_slice()).expect("a file descriptor");
            let found = file.service.iter().filter(|found| format!("{}.{}", file.package(), found.name()) == service.name);
            paths.extend(found.flat_map(|found| found.method.iter().map(|method| format!("/{}/{}", service.name, method.name()))));
        }
    }
    paths
}

/// Calls with an empty message; an rpc that refuses says so in the head of its answer, streaming or not.
pub(crate) async fn call(channel: &Channel, path: &str) -> Result<(), Refused> {
    call_with(channel, path, None).await
}

/// The same with a token.
pub(crate) async fn call_with(channel: &Channel, path: &str, token: Option<&str>) -> Result<(), Refused> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.expect("the connection stands");
    let path = PathAndQuery::try_from(path).expect("a path");
    let mut request = Request::new(());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("a token is ASCII"));
    }
    // What a stream that goes on and on says first is its answer, too.
    let mut answers = client.server_streaming(request, path, ProstCodec::<(), ()>::default()).await?.into_inner();
    answers.message().await?;
    Ok(())
}

#[tokio::test]
async fn every_rpc_but_signing_in_needs_a_token() {
    let tintype = Tintype::embedded().await;
    let stranger = tintype.stranger().await;
    let paths = every_path(&stranger.channel).await;
    let open = |path: &str| {
        path == "/tintype.v1.AuthService/CreateToken" || path.starts_with("/grpc.health.") || path.starts_with("/grpc.reflection.")
    };
    let closed: Vec<_> = paths.iter().filter(|path| !open(path)).collect();
    assert!(closed.len() >= 8, "reflection tells all of the service: {paths:?}");
    assert!(paths.len() > closed.len(), "reflection tells of signing in: {paths:?}");
    for path in closed {
        let refused = call(&stranger.channel, path).await.expect_err(path);
        assert_eq!(refused.kind(), (Code::Unauthenticated, "TOKEN_MISSING"), "{path}");
    }
}

#[tokio::test]
async fn a_token_that_was_never_given_out_opens_nothing() {
    let tintype = Tintype::embedded().await;
    for token in ["tt_0000000000000000000000000000000000000000000", "", "no token at all"] {
        let mut client = tintype.stranger().await;
        client.token = Some(token.to_owned());
        let refused = client.image(1).await.expect_err("nobody has this token");
        assert_eq!(refused.kind(), (Code::Unauthenticated, "TOKEN_INVALID"), "{token:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let tintype = Tintype::embedded().await;
    let channel = tintype.stranger().await.channel;
    let wrong = sign_in(channel.clone(), "admin", "not it").await.expect_err("a wrong password");
    let unknown = sign_in(channel.clone(), "nobody", ADMIN_PASSWORD).await.expect_err("an unknown user");
    assert_eq!(wrong.kind(), (Code::Unauthenticated, "SIGN_IN_FAILED"));
    assert_eq!((wrong.kind(), &wrong.message), (unknown.kind(), &unknown.message));
    let empty = sign_in(channel, "", "").await.expect_err("no name at all");
    assert_eq!(empty.kind(), (Code::InvalidArgument, "INVALID_FIELD"));
}

#[tokio::test]
async fn a_token_says_whose_it_is() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let token = client.token.expect("signed in");
    assert!(token.starts_with("tt_"), "secret scanners can tell what it is");
    let mut request = Request::new(GetCurrentUserRequest {});
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
    let user = AuthServiceClient::new(client.channel).get_current_user(request).await.expect("a valid token").into_inner().user;
    assert_eq!(user.expect("a user").username, "admin");
}

/// Every way to name an image or a rendition, tried as a caller who must not see it; what it answers.
async fn probes(client: &Client, image_id: i64, rendition_id: i64) -> Vec<(&'static str, Refused)> {
    let mut images = client.images();
    let original = DownloadImageRequest { image_id, format: ImageFormat::Png.into(), ..DownloadImageRequest::default() };
    let converted = DownloadImageRequest { image_id, wait: true, ..DownloadImageRequest::default() };
    let spec = Some(RenditionSpec { format: ImageFormat::Png.into(), ..RenditionSpec::default() });
    let wanted = CreateRenditionRequest { image_id, spec };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["labels".to_owned()] });
    let relabelled = UpdateImageRequest { image: Some(Image { id: image_id, ..Image::default() }), update_mask };
    let rendition = DownloadImageRequest { rendition_id, ..DownloadImageRequest::default() };
    vec![
        ("get", client.image(image_id).await.expect_err("get")),
        ("download original", client.download(original).await.expect_err("download original")),
        ("download by format", client.download(converted).await.expect_err("download by format")),
        ("download rendition", client.download(rendition).await.expect_err("download rendition")),
        ("retry", images.retry_rendition(RetryRenditionRequest { rendition_id }).await.expect_err("retry").into()),
        ("create rendition", images.create_rendition(wanted).await.expect_err("create rendition").into()),
        ("update", images.update_image(relabelled).await.expect_err("update").into()),
        ("delete", images.delete_image(DeleteImageRequest { id: image_id }).await.expect_err("delete").into()),
    ]
}

async fn nothing_of_others_is_found(tintype: Tintype) {
    tintype.add_user("other").await;
    let admin = tintype.client().await;
    let other = tintype.client_of("other").await;
    let image: Image = admin.upload(Upload::new("mine.png", pictures::png(40, 30, 1))).await.expect("an upload");
    let image = admin.settled(image.id).await;
    let rendition = image.renditions.first().expect("a PNG gets a JPEG").id;

    let missing = probes(&other, image.id + 1_000_000, rendition + 1_000_000).await;
    let foreign = probes(&other, image.id, rendition).await;
    for ((what, foreign), (_, missing)) in foreign.iter().zip(&missing) {
        assert_eq!(foreign.code, Code::NotFound, "{what}");
        assert_eq!(foreign.kind(), missing.kind(), "{what}");
        // Nothing but the id may differ, or the answer tells that there is something.
        let neutral =
            |refused: &Refused, id: i64, rendition: i64| refused.message.replace(&id.to_string(), "N").replace(&rendition.to_string(), "N");
        let expected = neutral(missing, image.id + 1_000_000, rendition + 1_000_000);
        assert_eq!(neutral(foreign, image.id, rendition), expected, "{what}");
    }
    let listed = other.images().list_images(ListImagesRequest::default()).await.expect("a list").into_inner();
    assert!(listed.images.is_empty(), "{listed:?}");
    assert_eq!(admin.original(&image).await.expect("it is still there").bytes, pictures::png(40, 30, 1));
}

#[tokio::test]
async fn nothing_of_others_is_found_embedded() {
    nothing_of_others_is_found(Tintype::embedded().await).await;
}

#[tokio::test]
async fn nothing_of_others_is_found_in_a_cluster() {
    nothing_of_others_is_found(Tintype::cluster(1).await).await;
}

#[tokio::test]
async fn a_request_id_is_one_users_own() {
    let tintype = Tintype::embedded().await;
    tintype.add_user("other").await;
    let upload = Upload::new("same.png", pictures::png(8, 8, 1)).request_id("same");
    let mine = tintype.client().await.upload(upload.clone()).await.expect("mine");
    let other = tintype.client_of("other").await.upload(upload).await.expect("the other's");
    assert_ne!(mine.id, other.id);
    assert_ne!(mine.owner_id, other.owner_id);
}
