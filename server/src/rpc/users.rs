use tintype_proto::v1::{
    CreateUserRequest, CreateUserResponse, DeleteUserRequest, DeleteUserResponse, GetUserRequest, GetUserResponse, ListUsersRequest,
    ListUsersResponse, UpdateUserRequest, UpdateUserResponse, user_service_server::UserService,
};
use tintype_store::{Kind, NewUser, Role, StoreError, Timestamp, User, UserChange, UserId, UserWrite, open::Stores, sweep};
use tonic::{Request, Response, Status};

use super::page;
use crate::{
    auth::Caller,
    core::SharedCore,
    status::{Chain, Refusal},
    wire,
};

/// What a list of users is bound to.
const LIST: &str = "users";

/// Users. The gate lets administrators through and nobody else.
#[derive(Debug)]
pub(crate) struct UserRpcs(pub(crate) SharedCore);

impl UserRpcs {
    async fn create(&self, request: CreateUserRequest) -> Result<CreateUserResponse, Refusal> {
        let core = &self.0;
        let name = wire::username("username", request.username)?;
        let password = wire::password("password", request.password)?;
        let role = wire::role("role", request.role)?.unwrap_or(Role::User);
        let quota_bytes = match wire::size("quota_bytes", request.quota_bytes)? {
            0 => core.limits.user_quota_bytes,
            chosen => chosen,
        };
        let password_hash = core.passwords.hash(password).await?;
        let new = NewUser { name: name.clone(), role, password_hash, quota_bytes };
        let user = core.stores.catalog.create_user(new, Timestamp::now()).await.map_err(|error| match error.kind() {
            Kind::AlreadyExists => Refusal::username_taken(&name),
            _ => error.into(),
        })?;
        tracing::info!(user.id = %user.id, "created the user {name}");
        Ok(CreateUserResponse { user: Some(self.proto(&user)) })
    }

    async fn get(&self, request: &GetUserRequest) -> Result<GetUserResponse, Refusal> {
        let id = user_id(request.id)?;
        let user = self.0.stores.catalog.user(id).await?.ok_or_else(|| Refusal::user_not_found(id))?;
        Ok(GetUserResponse { user: Some(self.proto(&user)) })
    }

    async fn list(&self, caller: &Caller, request: &ListUsersRequest) -> Result<ListUsersResponse, Refusal> {
        let size = wire::page_size(request.page_size)?;
        let after = page::decode(caller.0.user.id, &LIST, &request.page_token)?.map(UserId);
        // One more than asked for tells whether there is a next page.
        let mut users = self.0.stores.catalog.list_users(after, size + 1).await?;
        let more = users.len() > size as usize;
        users.truncate(size as usize);
        let next_page_token = match users.last() {
            Some(last) if more => page::encode(caller.0.user.id, &LIST, last.id.0),
            _ => String::new(),
        };
        Ok(ListUsersResponse { users: users.iter().map(|user| self.proto(user)).collect(), next_page_token })
    }

    async fn update(&self, request: UpdateUserRequest) -> Result<UpdateUserResponse, Refusal> {
        let core = &self.0;
        let wanted = request.user.unwrap_or_default();
        let id = user_id(wanted.id)?;
        let mut change = wire::user_change("update_mask", &wanted, &request.update_mask.unwrap_or_default())?;
        if !request.password.is_empty() {
            let password = wire::password("password", request.password)?;
            change.password_hash = Some(core.passwords.hash(password).await?);
        }
        let user = written(id, core.stores.catalog.update_user(id, &change).await?)?;
        let UserChange { role, disabled, quota_bytes, password_hash } = change;
        let password_changed = password_hash.is_some();
        tracing::info!(user.id = %id, ?role, ?disabled, ?quota_bytes, password_changed, "changed the user {}", user.name);
        Ok(UpdateUserResponse { user: Some(self.proto(&user)) })
    }

    async fn delete(&self, request: &DeleteUserRequest) -> Result<DeleteUserResponse, Refusal> {
        let stores = &self.0.stores;
        let id = user_id(request.id)?;
        let now = Timestamp::now();
        let user = written(id, stores.catalog.delete_user(id, now).await?)?;
        stores.nudges.nudge();
        tracing::info!(user.id = %id, "deleted the user {}", user.name);
        // The user is gone, which is what was asked for; what cannot be removed now is the sweeper's.
        if let Err(error) = remove_what_is_left(stores, now).await {
            tracing::warn!(user.id = %id, error = %Chain(&error), "the images of user {id} are removed later");
        }
        Ok(DeleteUserResponse {})
    }

    fn proto(&self, user: &User) -> tintype_proto::v1::User {
        wire::proto_user(user, self.0.usage.arriving_bytes(user.id))
    }
}

async fn remove_what_is_left(stores: &Stores, now: Timestamp) -> Result<(), StoreError> {
    sweep::remove_deleted_users(stores, now).await?;
    sweep::remove_doomed_soon(stores, now).await?;
    Ok(())
}

fn user_id(value: i64) -> Result<UserId, Refusal> {
    wire::id("id", value).map(UserId)
}

fn written(id: UserId, write: UserWrite) -> Result<User, Refusal> {
    match write {
        UserWrite::Done(user) => Ok(user),
        UserWrite::LastAdmin => Err(Refusal::last_admin(id)),
        UserWrite::Missing => Err(Refusal::user_not_found(id)),
    }
}

#[tonic::async_trait]
impl UserService for UserRpcs {
    async fn create_user(&self, request: Request<CreateUserRequest>) -> Result<Response<CreateUserResponse>, Status> {
        Ok(Response::new(self.create(request.into_inner()).await?))
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        Ok(Response::new(self.get(request.get_ref()).await?))
    }

    async fn list_users(&self, request: Request<ListUsersRequest>) -> Result<Response<ListUsersResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.list(&caller, request.get_ref()).await?))
    }

    async fn update_user(&self, request: Request<UpdateUserRequest>) -> Result<Response<UpdateUserResponse>, Status> {
        Ok(Response::new(self.update(request.into_inner()).await?))
    }

    async fn delete_user(&self, request: Request<DeleteUserRequest>) -> Result<Response<DeleteUserResponse>, Status> {
        Ok(Response::new(self.delete(request.get_ref()).await?))
    }
}
