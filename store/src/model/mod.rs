//! The domain: plain types without behaviour of their own.

mod blob;
mod edit;
mod format;
mod ids;
mod image;
mod integrity;
mod job;
mod limits;
mod link;
mod look;
mod overview;
mod share;
mod spec;
mod time;
mod upload;
mod user;

pub use blob::*;
pub use edit::*;
pub use format::*;
pub use ids::*;
pub use image::*;
pub use integrity::*;
pub use job::*;
pub use limits::*;
pub use link::*;
pub use look::*;
pub use overview::*;
pub use share::*;
pub use spec::*;
pub use time::*;
pub use upload::*;
pub use user::*;
