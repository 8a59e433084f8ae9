use std::{fmt, fs};

/// The bytes of a PEM file, read with the command line, so that a file that is missing is a mistake in it.
#[derive(Clone)]
pub(crate) struct Pem(pub(crate) Vec<u8>);

impl Pem {
    pub(crate) fn read(path: &str) -> Result<Self, String> {
        fs::read(path).map(Self).map_err(|error| error.to_string())
    }
}

/// Never shows what is in it: it may be a private key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem(..)")
    }
}
