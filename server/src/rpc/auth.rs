use std::{net::IpAddr, time::Instant};

use tintype_proto::v1::{
    ChangePasswordRequest, ChangePasswordResponse, CreateTokenRequest, CreateTokenResponse, ErrorReason, GetCurrentUserRequest,
    GetCurrentUserResponse, ListTokensRequest, ListTokensResponse, RevokeTokenRequest, RevokeTokenResponse,
    auth_service_server::AuthService,
};
use tintype_store::{NewToken, Role, Scope, Timestamp, TokenId, User, UserChange, UserId, UserWrite};
use tonic::{Request, Response, Status};

use super::page;
use crate::{
    auth::{Caller, new_secret, secret_sha256},
    core::SharedCore,
    status::Refusal,
    wire,
};

/// Sign-in, tokens and the caller's own account.
#[derive(Debug)]
pub(crate) struct AuthRpcs(pub(crate) SharedCore);

impl AuthRpcs {
    async fn sign_in(&self, request: CreateTokenRequest, address: Option<IpAddr>) -> Result<CreateTokenResponse, Refusal> {
        let core = &self.0;
        let name = wire::username("username", request.username)?;
        let password = wire::password("password", request.password)?;
        let ttl = request.ttl.map(|ttl| wire::ttl("ttl", ttl)).transpose()?;
        let scopes = wire::scopes("scopes", &request.scopes)?;
        let label = wire::label("label", request.label)?;

        let user = self.check_password(&name, password, address).await?;
        if scopes.contains(&Scope::Admin) && user.role != Role::Admin {
            return Err(Refusal::new(ErrorReason::NotPermitted, "only an administrator gets a token of the scope admin"));
        }
        let now = Timestamp::now();
        let secret = new_secret();
        let new = NewToken {
            user: user.id,
            password_hash: user.password_hash.clone(),
            secret_sha256: secret_sha256(&secret),
            label,
            scopes,
            expires_at: ttl.map(|ttl| now.plus(ttl)),
        };
        let token = core.stores.catalog.create_token(new, now).await?.ok_or_else(sign_in_failed)?;
        tracing::info!(user.id = %user.id, token.id = %token.id, "user {} signed in", user.name);
        let arriving_bytes = core.usage.arriving_bytes(user.id);
        Ok(CreateTokenResponse {
            token: secret,
            user: Some(wire::proto_user(&user, arriving_bytes)),
            token_info: Some(wire::proto_token(&token)),
        })
    }

    /// The user whose name and password these are. Every failure is one and the same, takes as long, and slows the next attempt down.
    async fn check_password(&self, name: &str, password: String, address: Option<IpAddr>) -> Result<User, Refusal> {
        let core = &self.0;
        core.throttle.check(name, address, Instant::now())?;
        let turn = core.passwords.turn().await?;
        // Others may have failed while this one waited: of guesses sent all at once only as many are looked at as there are turns.
        core.throttle.check(name, address, Instant::now())?;
        let user = core.stores.catalog.user_by_name(name).await?.filter(|user| !user.disabled);
        let right = turn.verify(password, user.as_ref().map(|user| user.password_hash.clone())).await?;
        if let Some(user) = user.filter(|_| right) {
            core.throttle.succeeded(name);
            return Ok(user);
        }
        core.throttle.failed(name, address, Instant::now());
        Err(sign_in_failed())
    }

    async fn list(&self, caller: &Caller, request: ListTokensRequest) -> Result<ListTokensResponse, Refusal> {
        let catalog = &self.0.stores.catalog;
        let user = whose(caller, request.user_id)?;
        let size = wire::page_size(request.page_size)?;
        let list = ("tokens", user);
        let before = page::decode(caller.0.user.id, &list, &request.page_token)?.map(TokenId);
        if user != caller.0.user.id {
            catalog.user(user).await?.ok_or_else(|| Refusal::user_not_found(user))?;
        }
        // One more than asked for tells whether there is a next page.
        let mut tokens = catalog.list_tokens(user, before, size + 1, Timestamp::now()).await?;
        let more = tokens.len() > size as usize;
        tokens.truncate(size as usize);
        let next_page_token = match tokens.last() {
            Some(last) if more => page::encode(caller.0.user.id, &list, last.id.0),
            _ => String::new(),
        };
        Ok(ListTokensResponse { tokens: tokens.iter().map(wire::proto_token).collect(), next_page_token })
    }

    async fn revoke(&self, caller: &Caller, request: &RevokeTokenRequest) -> Result<RevokeTokenResponse, Refusal> {
        let user = whose(caller, request.user_id)?;
        let token = match request.token_id {
            0 => caller.0.token.id,
            id => TokenId(wire::id("token_id", id)?),
        };
        if !self.0.stores.catalog.revoke_token(user, token).await? {
            return Err(Refusal::token_not_found(token));
        }
        tracing::info!(user.id = %user, token.id = %token, "revoked a token");
        Ok(RevokeTokenResponse {})
    }

    async fn current_user(&self, caller: &Caller) -> Result<GetCurrentUserResponse, Refusal> {
        let core = &self.0;
        // Anew: what the gate knows may be half a second old.
        let id = caller.0.user.id;
        let user = core.stores.catalog.user(id).await?.ok_or_else(Refusal::token_invalid)?;
        let arriving_bytes = core.usage.arriving_bytes(id);
        Ok(GetCurrentUserResponse {
            user: Some(wire::proto_user(&user, arriving_bytes)),
            token_info: Some(wire::proto_token(&caller.0.token)),
        })
    }

    async fn replace_password(
        &self,
        caller: &Caller,
        request: ChangePasswordRequest,
        address: Option<IpAddr>,
    ) -> Result<ChangePasswordResponse, Refusal> {
        let core = &self.0;
        let old = wire::password("old_password", request.old_password)?;
        let new = wire::password("new_password", request.new_password)?;
        let id = self.check_password(&caller.0.user.name, old, address).await?.id;
        let password_hash = Some(core.passwords.hash(new).await?);
        match core.stores.catalog.update_user(id, &UserChange { password_hash, ..UserChange::default() }).await? {
            UserWrite::Done(user) => tracing::info!(user.id = %id, "user {} changed the password", user.name),
            UserWrite::Missing | UserWrite::LastAdmin => return Err(Refusal::token_invalid()),
        }
        Ok(ChangePasswordResponse {})
    }
}

/// The user whom a request about tokens names: 0 is the caller, anybody else is for administrators.
fn whose(caller: &Caller, user_id: i64) -> Result<UserId, Refusal> {
    let own = caller.0.user.id;
    if user_id == 0 || user_id == own.0 {
        return Ok(own);
    }
    caller.needs(Scope::Admin)?;
    wire::id("user_id", user_id).map(UserId)
}

fn sign_in_failed() -> Refusal {
    Refusal::new(ErrorReason::SignInFailed, "wrong user name or password")
}

fn address<T>(request: &Request<T>) -> Option<IpAddr> {
    request.remote_addr().map(|address| address.ip())
}

#[tonic::async_trait]
impl AuthService for AuthRpcs {
    async fn create_token(&self, request: Request<CreateTokenRequest>) -> Result<Response<CreateTokenResponse>, Status> {
        let address = address(&request);
        Ok(Response::new(self.sign_in(request.into_inner(), address).await?))
    }

    async fn list_tokens(&self, request: Request<ListTokensRequest>) -> Result<Response<ListTokensResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.list(&caller, request.into_inner()).await?))
    }

    async fn revoke_token(&self, request: Request<RevokeTokenRequest>) -> Result<Response<RevokeTokenResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.revoke(&caller, request.get_ref()).await?))
    }

    async fn get_current_user(&self, request: Request<GetCurrentUserRequest>) -> Result<Response<GetCurrentUserResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.current_user(&caller).await?))
    }

    async fn change_password(&self, request: Request<ChangePasswordRequest>) -> Result<Response<ChangePasswordResponse>, Status> {
        let (caller, address) = (Caller::of(&request)?, address(&request));
        Ok(Response::new(self.replace_password(&caller, request.into_inner(), address).await?))
    }
}
