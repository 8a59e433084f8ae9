use async_trait::async_trait;
use sqlx::{query_as, query_scalar};

use super::Sqlite;
use crate::{
    Kind, NewToken, NewUser, SignedIn, StoreError, Timestamp, TokenId, User,
    catalog::{Users, rows::user_columns},
};

#[async_trait]
impl Users for Sqlite {
    async fn create_user(&self, new: NewUser, now: Timestamp) -> Result<User, StoreError> {
        let user = query_as(concat!(
            "INSERT INTO users (name, role, password_hash, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO NOTHING RETURNING ",
            user_columns!()
        ))
        .bind(&new.name)
        .bind(new.role.name())
        .bind(&new.password_hash)
        .bind(now.0)
        .fetch_optional(&self.writer)
        .await?;
        user.ok_or_else(|| StoreError::new(Kind::AlreadyExists, format!("there is a user {:?} already", new.name)))
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        let user = query_as(concat!("SELECT ", user_columns!(), " FROM users WHERE name = $1"));
        Ok(user.bind(name).fetch_optional(&self.readers).await?)
    }

    async fn has_users(&self) -> Result<bool, StoreError> {
        Ok(query_scalar("SELECT EXISTS (SELECT 1 FROM users)").fetch_one(&self.readers).await?)
    }

    async fn create_token(&self, new: NewToken, now: Timestamp) -> Result<TokenId, StoreError> {
        let id = query_scalar("INSERT INTO tokens (user_id, secret_sha256, created_at) VALUES ($1, $2, $3) RETURNING id")
            .bind(new.user.0)
            .bind(new.secret_sha256.as_slice())
            .bind(now.0)
            .fetch_one(&self.writer)
            .await?;
        Ok(TokenId(id))
    }

    async fn signed_in(&self, secret_sha256: &[u8; 32]) -> Result<Option<SignedIn>, StoreError> {
        let signed_in = query_as(concat!(
            "SELECT t.id AS token_id, ",
            user_columns!(),
            " FROM tokens t JOIN users ON users.id = t.user_id WHERE t.secret_sha256 = $1 AND NOT users.disabled"
        ));
        Ok(signed_in.bind(secret_sha256.as_slice()).fetch_optional(&self.readers).await?)
    }
}
