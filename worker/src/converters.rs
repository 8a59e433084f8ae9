#[cfg(target_os = "linux")]
use std::time::Duration;
use std::{error::Error, fmt, io, sync::Arc};

use tintype_store::{ConversionLimits, ImageHeader, Job, Spec};
use tokio::sync::OwnedSemaphorePermit;
#[cfg(target_os = "linux")]
use tokio::time::sleep;
use tracing::{info, warn};

#[cfg(target_os = "linux")]
use crate::pool::{Containment, Pool};
use crate::{
    Sandbox, WorkerConfig,
    budget::Budget,
    convert::{ConvertError, Converted, codecs, convert, memory::needed_bytes},
    job::JobError,
};

/// Before a converter process is tried again at the start.
#[cfg(target_os = "linux")]
const START_PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// What converts inside this process: [`convert`], or something that behaves like it.
pub(crate) type Engine = Arc<dyn Fn(&[u8], &ImageHeader, &Spec, &ConversionLimits) -> Result<Converted, ConvertError> + Send + Sync>;

/// What makes the pictures of a worker, and how far it is trusted.
#[derive(Debug)]
pub struct Converters {
    pub(crate) how: How,
    budget: Budget,
}

/// Where pictures are made.
pub(crate) enum How {
    /// On threads of this process, without any protection.
    Inside(Engine),
    /// In processes of their own.
    #[cfg(target_os = "linux")]
    Pool(Pool),
}

impl fmt::Debug for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inside(_) => f.write_str("Inside"),
            #[cfg(target_os = "linux")]
            Self::Pool(pool) => pool.fmt(f),
        }
    }
}

#[cfg(target_os = "linux")]
impl How {
    async fn contained(config: &WorkerConfig) -> Result<Self, SandboxError> {
        let mut started = Pool::start(config.limits.clone()).await;
        // What is wrong may pass: a machine that is busy with its own start, or short of memory or processes for a moment.
        for pause in START_PAUSES {
            let Err(error) = &started else { break };
            warn!(error = error as &dyn Error, "no converter process starts; trying again");
            sleep(pause).await;
            started = Pool::start(config.limits.clone()).await;
        }
        started.map(Self::Pool).map_err(|error| SandboxError { message: "no converter process starts".to_owned(), source: Some(error) })
    }

    /// What is missing of the full containment.
    fn gaps(&self) -> Option<String> {
        match self {
            Self::Pool(pool) if pool.containment() != Containment::FULL => {
                Some(format!("the kernel offers only {}, not {}", pool.containment(), Containment::FULL))
            }
            _ => None,
        }
    }

    fn warn_of_gaps(&self) {
        if let Some(gaps) = self.gaps() {
            warn!("conversions are contained in part: {gaps}");
        }
    }

    fn without_gaps(self) -> Result<Self, SandboxError> {
        match self.gaps() {
            Some(message) => Err(SandboxError { message, source: None }),
            None => Ok(self),
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl How {
    #[expect(clippy::unused_async, reason = "on Linux it waits for a process")]
    async fn contained(_: &WorkerConfig) -> Result<Self, SandboxError> {
        Err(SandboxError { message: "that is made for Linux only".to_owned(), source: None })
    }

    fn warn_of_gaps(&self) {}

    fn without_gaps(self) -> Result<Self, SandboxError> {
        Ok(self)
    }
}

/// Conversions cannot be contained as they must.
#[derive(Debug, thiserror::Error)]
#[error("conversions cannot be contained: {message}; --sandbox auto makes do with what there is")]
pub struct SandboxError {
    message: String,
    source: Option<io::Error>,
}

impl Converters {
    /// Gets ready to convert, contained as `config.sandbox` says.
    ///
    /// [`Sandbox::Require`] fails where the system lacks anything; [`Sandbox::Auto`] warns of it and never fails.
    pub async fn start(config: &WorkerConfig) -> Result<Self, SandboxError> {
        let how = match config.sandbox {
            Sandbox::Off => {
                warn!("conversions are not contained: a picture that crashes its decoder ends this process");
                How::Inside(Arc::new(convert))
            }
            Sandbox::Auto => How::contained(config).await.inspect(How::warn_of_gaps).unwrap_or_else(|error| {
                warn!(error = &error as &dyn Error, "conversions run inside this process: a picture can crash it");
                How::Inside(Arc::new(convert))
            }),
            Sandbox::Require => How::contained(config).await.and_then(How::without_gaps)?,
        };
        let converters = Self::new(how, config);
        info!(sandbox = converters.sandbox(), budget_bytes = converters.budget.bytes(), codecs = codecs(), "converters are ready");
        Ok(converters)
    }

    /// Converts inside this process.
    #[cfg(test)]
    pub(crate) fn inside(engine: Engine, config: &WorkerConfig) -> Self {
        Self::new(How::Inside(engine), config)
    }

    fn new(how: How, config: &WorkerConfig) -> Self {
        let budget_bytes = config.budget_bytes.unwrap_or_else(|| Budget::default_bytes(config.slots, &config.limits));
        Self { how, budget: Budget::new(budget_bytes) }
    }

    /// How conversions are contained: `none`, or `process` and what holds the processes, as in `process+landlock+seccomp`.
    pub fn sandbox(&self) -> String {
        match &self.how {
            How::Inside(_) => "none".to_owned(),
            #[cfg(target_os = "linux")]
            How::Pool(pool) => pool.containment().to_string(),
        }
    }

    /// Waits until there is memory for the job; `room` is to be kept until the conversion has ended.
    pub(crate) async fn room_for(&self, job: &Job, limits: &ConversionLimits) -> Result<OwnedSemaphorePermit, JobError> {
        let needed = needed_bytes(job.original.digest.size_bytes, &job.header, &job.spec, limits);
        self.budget.room_for(needed).await
    }
}
