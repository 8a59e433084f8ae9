//! Rows as both databases return them.
