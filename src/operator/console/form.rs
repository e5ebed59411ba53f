//! What a browser sends: the fields of a form, and the parameters of a query.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::problem::Problem;

/// The fields of a form, in their order; a name may come more than once.
#[derive(Debug, Clone, Default)]
pub(super) struct Form {
    fields: Vec<(String, String)>,
}

impl Form {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let pairs = form_urlencoded::parse(bytes);
        let fields: Vec<(String, String)> = pairs
            // Browsers send a line break as two characters.
            .map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n")))
            .collect();
        if fields.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
            let detail = "The text contains a character that cannot be stored (U+0000).";
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail).hint("Type the text again."));
        }
        Ok(Self { fields })
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields().filter(move |(one, _)| *one == name).map(|(_, value)| value)
    }

    /// The first value of a name that is not blank.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.fields()
            .find(|(one, value)| *one == name && !value.trim().is_empty())
            .map(|(_, value)| value)
    }

    /// The same, or nothing: what a page shows in the field again.
    pub(super) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    /// How many actions were ticked.
    pub(super) fn picks(&self) -> usize {
        self.all("pick").count()
    }

    /// The value of a name, or a refusal that says what is missing.
    pub(super) fn needed(&self, name: &str, missing: &str) -> Result<&str, Problem> {
        self.get(name).ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, missing))
    }

    /// The revision that the page had.
    pub(super) fn revision(&self) -> Result<i64, Problem> {
        let revision = self.get("revision").and_then(|revision| revision.parse().ok());
        revision.ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, "The form has no revision.")
                .hint("Open the page again.")
        })
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await.map_err(|error| {
            Problem::new(error.status(), "The form is too long, or it ended early.")
        })?;
        Self::parse(&bytes)
    }
}

/// The parameters of a query.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(pub(super) Form);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Form::parse(parts.uri.query().unwrap_or_default().as_bytes()).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_keeps_every_value_and_its_lines_and_refuses_what_cannot_be_stored() {
        let form = Form::parse(b"pick=1&pick=2&note=a%0D%0Ab&to=+").unwrap();
        assert_eq!(form.all("pick").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((form.get("note"), form.get("to")), (Some("a\nb"), None));
        assert!(Form::parse(b"note=a%00b").is_err());
    }
}
