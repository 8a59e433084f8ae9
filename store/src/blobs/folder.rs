//! Blobs as files of a local or shared folder.
