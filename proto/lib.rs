//! The messages, clients and servers generated from Tintype's protobuf definitions. Nothing in here is written by hand.

/// Package `tintype.v1`.
#[allow(clippy::all, clippy::pedantic, unused_qualifications, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("tintype.v1");
}

/// All of `proto/` with its imports as an encoded `FileDescriptorSet`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("tintype_descriptor");
