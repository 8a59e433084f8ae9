//! What the converter promises, through its public face.

mod animations;
#[cfg(feature = "avif")]
mod avif;
mod bombs;
mod conversions;
mod corpus;
mod damage;
mod frames;
mod icons;
mod keeping;
mod looks;
mod pictures;
mod specs;
mod tiffs;
