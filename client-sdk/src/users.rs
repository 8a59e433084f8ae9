//! The users of the service, for administrators.

use std::fmt;

use futures_util::stream::BoxStream;
use tintype_proto::v1::{
    self, CreateUserRequest, DeleteUserRequest, ErrorReason, GetUserRequest, ListUsersRequest, UpdateUserRequest,
    user_service_client::UserServiceClient,
};
use tonic::transport::Channel;

use crate::{Client, Error, Result, Role, Secret, User, list, wire};

/// The users; from [`Client::users`]. For anybody but an administrator every call is the error `NOT_PERMITTED`.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before one of its calls"]
pub struct Users {
    client: Client,
}

/// Some of the users.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UserPage {
    /// The smallest id first.
    pub users: Vec<User>,
    /// For the page after this one; `None` on the last page.
    pub next_page_token: Option<String>,
}

impl Users {
    pub(crate) fn new(client: Client) -> Users {
        Users { client }
    }

    /// Creates a user: a builder, see [`CreateUser`].
    pub fn create(&self, user_name: impl Into<String>, password: impl Into<Secret>) -> CreateUser {
        let request = CreateUserRequest { username: user_name.into(), password: password.into().expose().to_owned(), ..Default::default() };
        CreateUser { client: self.client.clone(), request }
    }

    /// Everything about one user but the password.
    pub async fn get(&self, user_id: i64) -> Result<User> {
        let request = GetUserRequest { id: user_id };
        wire::user(
            self.client.repeatable_call(request, |channel, request| async move { service(channel).get_user(request).await }).await?.user,
        )
    }

    /// All users in the order of their ids, a page at a time as the stream is read. Ends after the first error.
    pub fn stream(&self) -> BoxStream<'static, Result<User>> {
        let users = self.clone();
        list::walk(move |token| {
            let users = users.clone();
            async move { users.page(&token).await.map(|page| (page.users, page.next_page_token)) }
        })
    }

    /// One page: the first for an empty token, else the one after the page that gave it.
    pub async fn page(&self, token: &str) -> Result<UserPage> {
        let request = ListUsersRequest { page_size: 0, page_token: token.to_owned() };
        let call = |channel, request| async move { service(channel).list_users(request).await };
        let answer = self.client.repeatable_call(request, call).await?;
        Ok(UserPage {
            users: answer.users.into_iter().map(User::from).collect(),
            next_page_token: Some(answer.next_page_token).filter(|token| !token.is_empty()),
        })
    }

    /// Changes a user: a builder, see [`UpdateUser`].
    pub fn update(&self, user_id: i64) -> UpdateUser {
        let user = v1::User { id: user_id, ..Default::default() };
        let request = UpdateUserRequest { user: Some(user), update_mask: Some(prost_types::FieldMask::default()), ..Default::default() };
        UpdateUser { client: self.client.clone(), request }
    }

    /// Deletes a user with all tokens and all images. A user who is not there is the error `USER_NOT_FOUND`.
    pub async fn delete(&self, user_id: i64) -> Result<()> {
        let mut call = self.client.call();
        let mut answer_was_lost = false;
        loop {
            let request = call.request(DeleteUserRequest { id: user_id }).await?;
            match service(self.client.channel()).delete_user(request).await.map_err(Error::from) {
                Ok(_) => return Ok(()),
                // The attempt before did it, and its answer never came.
                Err(error) if answer_was_lost && error.is(ErrorReason::UserNotFound) => return Ok(()),
                Err(error) => {
                    answer_was_lost |= error.leaves_open();
                    call.failed(error).await?;
                }
            }
        }
    }
}

/// A user to be created; from [`Users::create`].
#[derive(Clone)]
#[must_use = "nobody is created before `send`"]
pub struct CreateUser {
    client: Client,
    request: CreateUserRequest,
}

impl CreateUser {
    /// What the user may do. [`Role::User`] by default.
    pub fn role(mut self, role: Role) -> CreateUser {
        self.request.role = wire::role_number(role);
        self
    }

    /// How many bytes the user may store, from 1. By default what [`Limits::user_quota_bytes`](crate::Limits) says.
    pub fn quota_bytes(mut self, bytes: u64) -> CreateUser {
        self.request.quota_bytes = wire::signed(bytes);
        self
    }

    /// Creates the user. A name that another user has is the error `USERNAME_TAKEN`. Not repeated when the connection breaks.
    pub async fn send(self) -> Result<User> {
        let request = self.client.call().request(self.request).await?;
        wire::user(service(self.client.channel()).create_user(request).await?.into_inner().user)
    }
}

/// A change to a user; from [`Users::update`]. What is not said stays.
#[derive(Clone)]
#[must_use = "nothing is changed before `send`"]
pub struct UpdateUser {
    client: Client,
    request: UpdateUserRequest,
}

impl UpdateUser {
    /// What the user may do.
    pub fn role(self, role: Role) -> UpdateUser {
        self.field("role", |user| user.role = wire::role_number(role))
    }

    /// Whether the user is kept out.
    pub fn disabled(self, disabled: bool) -> UpdateUser {
        self.field("disabled", |user| user.disabled = disabled)
    }

    /// How many bytes the user may store, from 0.
    pub fn quota_bytes(self, bytes: u64) -> UpdateUser {
        self.field("quota_bytes", |user| user.quota_bytes = wire::signed(bytes))
    }

    /// A new password, which revokes all tokens of the user.
    pub fn password(mut self, password: impl Into<Secret>) -> UpdateUser {
        password.into().expose().clone_into(&mut self.request.password);
        self
    }

    /// Changes the user, and returns the user as changed.
    pub async fn send(self) -> Result<User> {
        let call = |channel, request| async move { service(channel).update_user(request).await };
        wire::user(self.client.repeatable_call(self.request, call).await?.user)
    }

    fn field(mut self, path: &str, set: impl FnOnce(&mut v1::User)) -> UpdateUser {
        set(self.request.user.get_or_insert_default());
        let mask = self.request.update_mask.get_or_insert_default();
        mask.paths.retain(|known| known != path);
        mask.paths.push(path.to_owned());
        self
    }
}

fn service(channel: Channel) -> UserServiceClient<Channel> {
    UserServiceClient::new(channel)
}

impl fmt::Debug for CreateUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The request holds the password.
        f.debug_struct("CreateUser").field("user_name", &self.request.username).finish_non_exhaustive()
    }
}

impl fmt::Debug for UpdateUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The request may hold a password.
        f.debug_struct("UpdateUser").field("user", &self.request.user).finish_non_exhaustive()
    }
}
