//! What the header of an image file says, found while the bytes stream past.
