use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};

use super::{Postgres, is_storable, pool::PooledConnection};
use crate::{
    ImageId, Kind, NewToken, NewUser, Role, SignedIn, StoreError, Timestamp, Token, TokenId, User, UserChange, UserId, UserWrite,
    catalog::{
        Users,
        rows::{scope_list, token_columns, user_columns},
    },
};

#[async_trait]
impl Users for Postgres {
    async fn create_user(&self, new: NewUser, now: Timestamp) -> Result<User, StoreError> {
        let user = query_as(concat!(
            "INSERT INTO users (name, role, password_hash, quota_bytes, created_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (name) DO NOTHING RETURNING ",
            user_columns!()
        ))
        .bind(&new.name)
        .bind(new.role.name())
        .bind(&new.password_hash)
        .bind(new.quota_bytes as i64)
        .bind(now.0)
        .fetch_optional(&self.pool)
        .await?;
        user.ok_or_else(|| StoreError::new(Kind::AlreadyExists, format!("there is a user {:?} already", new.name)))
    }

    async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        if !is_storable(name) {
            return Ok(None);
        }
        let user = query_as(concat!("SELECT ", user_columns!(), " FROM users WHERE name = $1 AND deleted_at IS NULL"));
        Ok(user.bind(name).fetch_optional(&self.pool).await?)
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let user = query_as(concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1 AND deleted_at IS NULL"));
        Ok(user.bind(id.0).fetch_optional(&self.pool).await?)
    }

    async fn list_users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError> {
        let users =
            query_as(concat!("SELECT ", user_columns!(), " FROM users WHERE id > $1 AND deleted_at IS NULL ORDER BY users.id LIMIT $2"));
        Ok(users.bind(after.map_or(i64::MIN, |id| id.0)).bind(i64::from(limit)).fetch_all(&self.pool).await?)
    }

    async fn update_user(&self, id: UserId, change: &UserChange) -> Result<UserWrite, StoreError> {
        let mut tx = self.pool.begin().await?;
        if change.takes_admin_away() && is_last_admin(&mut tx, id).await? {
            return Ok(UserWrite::LastAdmin);
        }
        let user: Option<User> = query_as(concat!(
            "UPDATE users SET role = coalesce($2, role), disabled = coalesce($3, disabled), quota_bytes = coalesce($4, quota_bytes),
                 password_hash = coalesce($5, password_hash)
             WHERE id = $1 AND deleted_at IS NULL RETURNING ",
            user_columns!()
        ))
        .bind(id.0)
        .bind(change.role.map(Role::name))
        .bind(change.disabled)
        .bind(change.quota_bytes.map(|bytes| bytes as i64))
        .bind(change.password_hash.as_deref())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(user) = user else {
            return Ok(UserWrite::Missing);
        };
        if change.password_hash.is_some() {
            // After the row was locked: whoever creates a token holds it until the token can be seen here.
            query("DELETE FROM tokens WHERE user_id = $1").bind(id.0).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(UserWrite::Done(user))
    }

    async fn delete_user(&self, id: UserId, now: Timestamp) -> Result<UserWrite, StoreError> {
        let mut tx = self.pool.begin().await?;
        if is_last_admin(&mut tx, id).await? {
            return Ok(UserWrite::LastAdmin);
        }
        let user: Option<User> =
            query_as(concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1 AND deleted_at IS NULL FOR UPDATE"))
                .bind(id.0)
                .fetch_optional(&mut *tx)
                .await?;
        let Some(user) = user else {
            return Ok(UserWrite::Missing);
        };
        query("UPDATE users SET deleted_at = $2, disabled = TRUE, name = chr(127) || id WHERE id = $1")
            .bind(id.0)
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
        query("DELETE FROM tokens WHERE user_id = $1").bind(id.0).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(UserWrite::Done(user))
    }

    async fn images_of_deleted_users(&self, limit: u32) -> Result<Vec<ImageId>, StoreError> {
        let ids = query_scalar("SELECT i.id FROM users u JOIN images i ON i.owner_id = u.id WHERE u.deleted_at IS NOT NULL LIMIT $1");
        let ids: Vec<i64> = ids.bind(i64::from(limit)).fetch_all(&self.pool).await?;
        Ok(ids.into_iter().map(ImageId).collect())
    }

    async fn forget_deleted_users(&self) -> Result<u64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let gone: Vec<i64> = query_scalar(
            "SELECT id FROM users WHERE deleted_at IS NOT NULL AND NOT EXISTS (SELECT FROM images WHERE owner_id = users.id)
                 AND NOT EXISTS (SELECT FROM uploads WHERE owner_id = users.id)
                 AND NOT EXISTS (SELECT FROM upload_links WHERE owner_id = users.id)
             ORDER BY id FOR UPDATE SKIP LOCKED",
        )
        .fetch_all(&mut *tx)
        .await?;
        for delete in [
            "DELETE FROM requests WHERE owner_id = ANY ($1)",
            "UPDATE shares SET user_id = NULL WHERE user_id = ANY ($1)",
            "DELETE FROM users WHERE id = ANY ($1)",
        ] {
            query(delete).bind(&gone).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(gone.len() as u64)
    }

    async fn has_users(&self) -> Result<bool, StoreError> {
        Ok(query_scalar("SELECT EXISTS (SELECT 1 FROM users WHERE deleted_at IS NULL)").fetch_one(&self.pool).await?)
    }

    async fn create_token(&self, new: NewToken, now: Timestamp) -> Result<Option<Token>, StoreError> {
        let token = query_as(concat!(
            "INSERT INTO tokens (user_id, secret_sha256, label, scopes, created_at, expires_at)
             SELECT id, $3, $4, $5, $6, $7 FROM (
                 -- The lock makes a change of the password wait, and then revoke this token.
                 SELECT id FROM users WHERE id = $1 AND password_hash = $2 AND NOT disabled FOR SHARE
             ) u
             RETURNING ",
            token_columns!()
        ))
        .bind(new.user.0)
        .bind(&new.password_hash)
        .bind(new.secret_sha256.as_slice())
        .bind(&new.label)
        .bind(scope_list(&new.scopes))
        .bind(now.0)
        .bind(new.expires_at.map(|at| at.0))
        .fetch_optional(&self.pool)
        .await?;
        Ok(token)
    }

    async fn list_tokens(&self, user: UserId, before: Option<TokenId>, limit: u32, now: Timestamp) -> Result<Vec<Token>, StoreError> {
        let tokens = query_as(concat!(
            "SELECT ",
            token_columns!(),
            " FROM tokens WHERE user_id = $1 AND id < $2 AND (expires_at IS NULL OR expires_at > $4) ORDER BY tokens.id DESC LIMIT $3"
        ));
        let before = before.map_or(i64::MAX, |id| id.0);
        Ok(tokens.bind(user.0).bind(before).bind(i64::from(limit)).bind(now.0).fetch_all(&self.pool).await?)
    }

    async fn revoke_token(&self, user: UserId, id: TokenId) -> Result<bool, StoreError> {
        let revoked = query("DELETE FROM tokens WHERE id = $1 AND user_id = $2").bind(id.0).bind(user.0).execute(&self.pool).await?;
        Ok(revoked.rows_affected() > 0)
    }

    async fn signed_in(&self, secret_sha256: &[u8; 32], now: Timestamp) -> Result<Option<SignedIn>, StoreError> {
        let signed_in = query_as(concat!(
            "SELECT ",
            token_columns!(),
            ", ",
            user_columns!(),
            " FROM tokens JOIN users ON users.id = tokens.user_id
             WHERE tokens.secret_sha256 = $1 AND NOT users.disabled AND (tokens.expires_at IS NULL OR tokens.expires_at > $2)"
        ));
        Ok(signed_in.bind(secret_sha256.as_slice()).bind(now.0).fetch_optional(&self.pool).await?)
    }

    async fn valid_tokens(&self, ids: &[TokenId], now: Timestamp) -> Result<Vec<TokenId>, StoreError> {
        let valid: Vec<i64> = query_scalar(
            "SELECT t.id FROM tokens t JOIN users u ON u.id = t.user_id
             WHERE t.id = ANY ($1) AND NOT u.disabled AND (t.expires_at IS NULL OR t.expires_at > $2)",
        )
        .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
        .bind(now.0)
        .fetch_all(&self.pool)
        .await?;
        Ok(valid.into_iter().map(TokenId).collect())
    }
}

/// Whether this is the only administrator who is not disabled. Locks all of them, so that no two calls decide on the same ones at once.
async fn is_last_admin(connection: &mut PooledConnection, id: UserId) -> sqlx::Result<bool> {
    let admins: Vec<i64> = query_scalar("SELECT id FROM users WHERE role = 'admin' AND NOT disabled ORDER BY id FOR NO KEY UPDATE")
        .fetch_all(connection)
        .await?;
    Ok(admins == [id.0])
}
