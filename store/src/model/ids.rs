use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A user, from 1.
    UserId
);
id!(
    /// A sign-in token, from 1; not the secret.
    TokenId
);
id!(
    /// An image, from 1; later images have larger ids.
    ImageId
);
id!(
    /// A rendition, from 1, unique among all renditions.
    RenditionId
);

/// Names the pair of a catalog and a blob store that belong together: 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreId(pub String);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
