//! Tokens for OAUTHBEARER.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use serde_json::{Value, json};

/// How long a token is taken to be good that does not say so itself.
const UNKNOWN_LIFETIME: Duration = Duration::from_mins(5);

/// How long a token is good that we make.
const UNSECURED_LIFETIME: Duration = Duration::from_hours(1);

/// Where the token comes from.
#[derive(Clone, Debug)]
pub(crate) enum Token {
    /// A file that somebody else keeps up to date.
    File(PathBuf),
    /// Made on the spot for this principal and signed by nobody: for development.
    Unsecured(String),
}

/// Why there is no token.
#[derive(Debug)]
pub(crate) struct NoToken(String);

impl fmt::Display for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoToken {}

impl Token {
    /// The token as it is now.
    pub(crate) fn get(&self) -> Result<OAuthToken, NoToken> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match self {
            Self::File(path) => {
                let refuse = |why: &str| NoToken(format!("the `sasl_oauthbearer_token_file` `{}` {why}", path.display()));
                let text = std::fs::read_to_string(path).map_err(|error| refuse(&format!("cannot be read: {error}")))?;
                let token = text.trim();
                if token.is_empty() || token.contains(|c: char| c.is_whitespace() || c.is_control()) {
                    return Err(refuse("does not hold a single token"));
                }
                let claims = claims(token);
                let lifetime_ms = match claims["exp"].as_f64() {
                    Some(expiry) if expiry <= now.as_secs_f64() => return Err(refuse("holds a token that has expired")),
                    #[expect(clippy::cast_possible_truncation, reason = "a float beyond the range becomes the end of the range")]
                    Some(expiry) => (expiry * 1000.0) as i64,
                    None => millis(now + UNKNOWN_LIFETIME),
                };
                let principal_name = claims["sub"].as_str().unwrap_or_default().to_owned();
                Ok(OAuthToken { token: token.to_owned(), principal_name, lifetime_ms })
            }
            Self::Unsecured(principal) => {
                let expiry = now + UNSECURED_LIFETIME;
                let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
                let claims = json!({"sub": principal, "iat": now.as_secs(), "exp": expiry.as_secs()});
                let token = format!("{}.{}.", part(json!({"alg": "none"})), part(claims));
                Ok(OAuthToken { token, principal_name: principal.clone(), lifetime_ms: millis(expiry) })
            }
        }
    }
}

/// What a token says about itself, when it is a JSON Web Token; null otherwise.
fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok());
    part.and_then(|part| serde_json::from_slice(&part).ok()).unwrap_or_default()
}

fn millis(since_epoch: Duration) -> i64 {
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(text: &str) -> Result<OAuthToken, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Token::File(file.path().to_owned()).get().map_err(|error| error.to_string())
    }

    fn token(claims: &Value) -> String {
        format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[test]
    fn a_token_in_a_file_says_whose_it_is_and_how_long_it_is_good() {
        let text = token(&json!({"sub": "me", "exp": 4_000_000_000_u64}));
        let read = from_file(&format!("{text}\n")).unwrap();
        assert_eq!((read.token, read.principal_name.as_str(), read.lifetime_ms), (text, "me", 4_000_000_000_000));
    }

    #[test]
    fn a_token_that_says_nothing_is_good_for_a_while() {
        let read = from_file("opaque").unwrap();
        let now = millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
        assert!(read.lifetime_ms > now && read.principal_name.is_empty());
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_shown() {
        assert!(from_file("").err().unwrap().ends_with("does not hold a single token"));
        assert!(from_file("a b").err().unwrap().ends_with("does not hold a single token"));
        assert!(from_file(&token(&json!({"exp": 1}))).err().unwrap().ends_with("holds a token that has expired"));
        assert!(
            Token::File("/nowhere/token".into()).get().err().unwrap().to_string().contains("`/nowhere/token` cannot be read")
        );
    }

    #[test]
    fn an_unsecured_token_can_be_read_back() {
        let made = Token::Unsecured("me".to_owned()).get().unwrap();
        assert_eq!(claims(&made.token)["sub"], "me");
        assert!(made.token.ends_with('.') && !made.token.contains('='));
    }
}
