use std::fmt::Debug;

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use tintype_store::UserId;

use crate::status::Refusal;

const BINDING_BYTES: usize = 8;

/// Where the next page of a list begins: after this id. Bound to the caller and to `list`, which says what is listed, so that a token taken
/// elsewhere is refused instead of silently showing a different list.
pub(crate) fn encode(user: UserId, list: &impl Debug, last: i64) -> String {
    encode_key(user, list, [last])
}

/// The id after which the page begins; `None` for the first page.
pub(crate) fn decode(user: UserId, list: &impl Debug, token: &str) -> Result<Option<i64>, Refusal> {
    Ok(decode_key(user, list, token)?.map(|[last]| last))
}

/// The same for a list in the order of several numbers.
pub(crate) fn encode_key<const N: usize>(user: UserId, list: &impl Debug, last: [i64; N]) -> String {
    let mut token: Vec<u8> = last.into_iter().flat_map(i64::to_be_bytes).collect();
    token.extend(binding(user, list));
    BASE64URL_NOPAD.encode(&token)
}

/// The numbers after which the page begins; `None` for the first page.
pub(crate) fn decode_key<const N: usize>(user: UserId, list: &impl Debug, token: &str) -> Result<Option<[i64; N]>, Refusal> {
    if token.is_empty() {
        return Ok(None);
    }
    let invalid = || Refusal::field("page_token", "is not one of this list: use it with the same user and filter, or leave it empty");
    let token = BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_| invalid())?;
    let (numbers, bound) = token.split_at_checked(N * size_of::<i64>()).ok_or_else(invalid)?;
    if bound != binding(user, list) {
        return Err(invalid());
    }
    let mut last = [0; N];
    for (number, bytes) in last.iter_mut().zip(numbers.as_chunks().0) {
        *number = i64::from_be_bytes(*bytes);
    }
    Ok(Some(last))
}

fn binding(user: UserId, list: &impl Debug) -> [u8; BINDING_BYTES] {
    let digest = Sha256::digest(format!("{user}\0{list:?}"));
    let mut binding = [0; BINDING_BYTES];
    binding.copy_from_slice(&digest[..BINDING_BYTES]);
    binding
}

#[cfg(test)]
mod tests {
    use tintype_store::ImageFilter;

    use super::*;

    #[test]
    fn a_token_serves_only_its_user_and_filter() {
        let (all, some) = (ImageFilter::default(), ImageFilter { file_name_contains: Some("x".to_owned()), ..ImageFilter::default() });
        let token = encode(UserId(1), &all, 7);
        assert_eq!(decode(UserId(1), &all, &token).expect("valid"), Some(7));
        assert_eq!(decode(UserId(1), &all, "").expect("valid"), None);
        assert!(decode(UserId(2), &all, &token).is_err());
        assert!(decode(UserId(1), &some, &token).is_err());
        assert!(decode(UserId(1), &"users", &token).is_err());
        assert!(decode(UserId(1), &all, "AAAA").is_err());
        assert!(decode_key::<2>(UserId(1), &all, &token).is_err(), "of a list in another order");
        let token = encode_key(UserId(1), &all, [i64::MIN, 7]);
        assert_eq!(decode_key(UserId(1), &all, &token).expect("valid"), Some([i64::MIN, 7]));
        assert!(decode(UserId(1), &all, &token).is_err());
        assert!(decode(UserId(1), &all, "no token").is_err());
    }
}
