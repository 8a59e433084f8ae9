//! What the converter promises, through its public face.

mod animations;
mod conversions;
mod corpus;
mod damage;
mod keeping;
mod pictures;
mod specs;
