//! How users of the fake service sign in.

use tintype_proto::v1;
use tonic::{Code, Request, Response, Status};

use crate::fake::{Fake, refusal, token};

#[tonic::async_trait]
impl v1::auth_service_server::AuthService for Fake {
    async fn create_token(&self, request: Request<v1::CreateTokenRequest>) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let request = request.into_inner();
        if (request.username.as_str(), request.password.as_str()) != ("ada", "sesame") {
            return Err(refusal(Code::Unauthenticated, "SIGN_IN_FAILED", None));
        }
        let sign_ins = self.see(|state| {
            state.sign_ins += 1;
            state.sign_ins
        });
        let user = v1::User { id: 1, username: request.username, ..Default::default() };
        let info = v1::TokenInfo { id: sign_ins as i64, user_id: 1, label: request.label, scopes: request.scopes, ..Default::default() };
        Ok(Response::new(v1::CreateTokenResponse { token: token(sign_ins), user: Some(user), token_info: Some(info) }))
    }

    async fn list_tokens(&self, request: Request<v1::ListTokensRequest>) -> Result<Response<v1::ListTokensResponse>, Status> {
        self.single(&request, |_| Ok(()))?;
        Err(Status::unimplemented("not a part of this service"))
    }

    async fn revoke_token(&self, request: Request<v1::RevokeTokenRequest>) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let id = usize::try_from(request.get_ref().token_id).unwrap();
        self.single(&request, |state| {
            if id <= state.revoked || id > state.sign_ins {
                return Err(refusal(Code::NotFound, "TOKEN_NOT_FOUND", None));
            }
            state.revoked = id;
            Ok(())
        })?;
        if self.see(|state| std::mem::take(&mut state.lose_answer_of_deletion)) {
            return std::future::pending().await;
        }
        Ok(Response::new(v1::RevokeTokenResponse {}))
    }

    async fn change_password(&self, request: Request<v1::ChangePasswordRequest>) -> Result<Response<v1::ChangePasswordResponse>, Status> {
        self.single(&request, |_| Ok(()))?;
        Err(Status::unimplemented("not a part of this service"))
    }

    async fn get_current_user(&self, request: Request<v1::GetCurrentUserRequest>) -> Result<Response<v1::GetCurrentUserResponse>, Status> {
        self.single(&request, |_| Ok(()))?;
        let user = v1::User { id: 1, username: "ada".into(), role: v1::Role::Admin.into(), ..Default::default() };
        Ok(Response::new(v1::GetCurrentUserResponse { user: Some(user), token_info: None }))
    }
}
