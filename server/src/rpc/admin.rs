use tintype_proto::v1::{
    GetStatsRequest, GetStatsResponse, ListFailuresRequest, ListFailuresResponse, RetryFailuresRequest, RetryFailuresResponse,
    VerifyRequest, admin_service_server::AdminService,
};
use tintype_store::{FailedRendition, FailureFilter, FailurePosition, RenditionId, Retry, Timestamp, Worker};
use tonic::{Request, Response, Status};

use super::{page, upload, verify};
use crate::{auth::Caller, core::SharedCore, limits::Limits, status::Refusal, wire, wire_admin};

/// What is counted and what failed, all users together, for administrators and nobody else.
#[derive(Debug)]
pub(crate) struct AdminRpcs(pub(crate) SharedCore);

impl AdminRpcs {
    async fn stats(&self, caller: &Caller) -> Result<GetStatsResponse, Refusal> {
        let core = &self.0;
        let now = Timestamp::now();
        let catalog = core.authorizer.everything(caller)?;
        let (totals, workers) = tokio::try_join!(catalog.totals(), catalog.workers(now.minus(Worker::ALIVE)))?;
        Ok(GetStatsResponse {
            users: Some(wire_admin::proto_users(&totals)),
            storage: Some(wire_admin::proto_storage(&totals, core.usage.all_arriving_bytes())),
            renditions: Some(wire_admin::proto_renditions(&totals, now)),
            cleanup: Some(wire_admin::proto_cleanup(&totals, now)),
            workers: workers.into_iter().map(wire_admin::proto_worker).collect(),
            server: Some(wire_admin::proto_server(core.started_at, core.schemes)),
        })
    }

    async fn list(&self, caller: &Caller, request: ListFailuresRequest) -> Result<ListFailuresResponse, Refusal> {
        let size = wire::page_size(request.page_size)?;
        let filter = wire_admin::filter(request.filter.unwrap_or_default())?;
        let (failures, next_page_token) = self.page(caller, &filter, &request.page_token, size).await?;
        Ok(ListFailuresResponse { failures: failures.into_iter().map(wire_admin::proto_failure).collect(), next_page_token })
    }

    async fn retry(&self, caller: &Caller, request: RetryFailuresRequest) -> Result<RetryFailuresResponse, Refusal> {
        let (ids, next_page_token) = match wire_admin::failures_to_retry(request)? {
            wire_admin::ToRetry::These(ids) => (ids, String::new()),
            wire_admin::ToRetry::Matching { filter, page_token } => {
                let (failures, next) = self.page(caller, &filter, &page_token, Limits::DEFAULT_PAGE_SIZE).await?;
                (failures.into_iter().map(|failure| failure.rendition.id).collect(), next)
            }
        };
        let retried = self.retry_each(caller, ids).await?;
        if !retried.is_empty() {
            tracing::info!(user.id = %caller.0.user.id, count = retried.len(), "retried failures");
        }
        Ok(RetryFailuresResponse { rendition_ids: retried.into_iter().map(|id| id.0).collect(), next_page_token })
    }

    /// Makes those of the renditions pending again that are failed, and tells of what was done also when the catalog goes away half-way.
    async fn retry_each(&self, caller: &Caller, ids: Vec<RenditionId>) -> Result<Vec<RenditionId>, Refusal> {
        let stores = &self.0.stores;
        let catalog = self.0.authorizer.everything(caller)?;
        let mut retried = Vec::new();
        let mut outcome = Ok(());
        for id in ids {
            match catalog.retry(None, id, Timestamp::now()).await {
                Ok(Retry::Pending(_)) => retried.push(id),
                Ok(Retry::NotFailed(_) | Retry::Denied(_)) => {}
                Err(error) => {
                    outcome = Err(error.into());
                    break;
                }
            }
        }
        if !retried.is_empty() {
            stores.nudges.nudge();
            self.0.shutdown.spawn(upload::hint(stores.clone(), retried.clone()));
        }
        outcome.map(|()| retried)
    }

    /// A page of failures, and the token of the next one.
    async fn page(
        &self,
        caller: &Caller,
        filter: &FailureFilter,
        token: &str,
        size: u32,
    ) -> Result<(Vec<FailedRendition>, String), Refusal> {
        let (user, catalog) = (caller.0.user.id, self.0.authorizer.everything(caller)?);
        let before =
            page::decode_key(user, filter, token)?.map(|[at, id]| FailurePosition { failed_at: Timestamp(at), rendition: RenditionId(id) });
        // One more than asked for tells whether there is a next page.
        let mut failures = catalog.list_failures(filter, before, size + 1).await?;
        let more = failures.len() > size as usize;
        failures.truncate(size as usize);
        let next = match failures.last().map(FailedRendition::position) {
            Some(last) if more => page::encode_key(user, filter, [last.failed_at.0, last.rendition.0]),
            _ => String::new(),
        };
        Ok((failures, next))
    }
}

#[tonic::async_trait]
impl AdminService for AdminRpcs {
    type VerifyStream = verify::Messages;

    async fn get_stats(&self, request: Request<GetStatsRequest>) -> Result<Response<GetStatsResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.stats(&caller).await?))
    }

    async fn list_failures(&self, request: Request<ListFailuresRequest>) -> Result<Response<ListFailuresResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.list(&caller, request.into_inner()).await?))
    }

    async fn retry_failures(&self, request: Request<RetryFailuresRequest>) -> Result<Response<RetryFailuresResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.retry(&caller, request.into_inner()).await?))
    }

    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<Self::VerifyStream>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(verify::start(&self.0, &caller, request.get_ref()).await?))
    }
}
