//! From settings to stores: the URL scheme picks the adapter.
