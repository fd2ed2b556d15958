//! The client against real servers on this machine.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests as well")]

mod bounds;
mod guard;
mod tls;

use std::time::Duration;

use trunkline_http::{Answer, Client, Failure, HeaderMap, Method, Request, Url};
use trunkline_testkit::http::axum::http::StatusCode;
use trunkline_testkit::http::axum::response::{IntoResponse, Response};

/// Posts a text to `url`.
pub(crate) async fn post(client: &Client, url: &str) -> Result<Answer, Failure> {
    let (url, timeout) = (Url::parse(url).unwrap(), Duration::from_secs(10));
    let headers = HeaderMap::new();
    let request = Request { method: Method::POST, url: &url, headers, body: "hello".into(), timeout };
    client.send(request, 1000).await
}

pub(crate) fn status(code: u16, body: &'static str) -> Response {
    (StatusCode::from_u16(code).unwrap(), body).into_response()
}
