use axum::http::Uri;

use crate::status::Refusal;

/// The query of a request. A parameter that is given twice is refused, since nobody can know which is meant.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(uri: &Uri) -> Self {
        Self(form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The value of a parameter; `None` when it is not given.
    pub(crate) fn value(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = values.next();
        if values.next().is_some() { Err(Refusal::field(name, "must be given once")) } else { Ok(value) }
    }

    /// `true` or `false`; `false` when it is not given.
    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, Refusal> {
        match self.value(name)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Refusal::field(name, format_args!("must be true or false, not {other:?}"))),
        }
    }

    /// A whole number; 0 when it is not given.
    pub(crate) fn number(&self, name: &'static str) -> Result<i32, Refusal> {
        let Some(text) = self.value(name)? else { return Ok(0) };
        text.parse().map_err(|_| Refusal::field(name, format_args!("must be a whole number, not {text:?}")))
    }
}
