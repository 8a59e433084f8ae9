use tintype_proto::v1::{
    CreateTokenRequest, CreateTokenResponse, ErrorReason, GetCurrentUserRequest, GetCurrentUserResponse, auth_service_server::AuthService,
};
use tintype_store::{NewToken, Timestamp};
use tonic::{Request, Response, Status};

use crate::{
    auth::{Caller, new_secret, secret_sha256},
    core::SharedCore,
    limits::Limits,
    status::Refusal,
    wire,
};

/// Sign-in.
#[derive(Debug)]
pub(crate) struct AuthRpcs(pub(crate) SharedCore);

impl AuthRpcs {
    async fn sign_in(&self, request: CreateTokenRequest) -> Result<CreateTokenResponse, Refusal> {
        let core = &self.0;
        let name = wire::text("username", request.username, Limits::MAX_USERNAME_BYTES)?;
        let password = wire::text("password", request.password, Limits::MAX_PASSWORD_BYTES)?;
        let user = core.stores.catalog.user_by_name(&name).await?.filter(|user| !user.disabled);
        let right = core.passwords.verify(password, user.as_ref().map(|user| user.password_hash.clone())).await?;
        let Some(user) = user.filter(|_| right) else {
            return Err(Refusal::new(ErrorReason::SignInFailed, "wrong user name or password"));
        };
        let token = new_secret();
        let new = NewToken { user: user.id, secret_sha256: secret_sha256(&token) };
        core.stores.catalog.create_token(new, Timestamp::now()).await?;
        tracing::info!(user.id = %user.id, "user {} signed in", user.name);
        Ok(CreateTokenResponse { token, user: Some(wire::proto_user(&user)) })
    }
}

#[tonic::async_trait]
impl AuthService for AuthRpcs {
    async fn create_token(&self, request: Request<CreateTokenRequest>) -> Result<Response<CreateTokenResponse>, Status> {
        Ok(Response::new(self.sign_in(request.into_inner()).await?))
    }

    async fn get_current_user(&self, request: Request<GetCurrentUserRequest>) -> Result<Response<GetCurrentUserResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(GetCurrentUserResponse { user: Some(wire::proto_user(&caller.0.user)) }))
    }
}
