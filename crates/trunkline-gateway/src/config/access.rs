//! Who may use the HTTP API: its token, and the key of JSON Web Tokens.
//!
//! A secret that is there and says nothing is a mistake, never an open door: compose files and templates pass a variable that nobody set
//! as an empty text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey};
use trunkline_config::{Secret, Section};

use super::Overrides;
use crate::JwtPlan;

const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
];

/// The shortest secret, in bytes. Whoever has a single token can try secrets at home, as quickly as machines can. RFC 7518 (3.2) asks
/// for as many bytes as the hash has, 32 and more; a shorter one is told.
const LEAST_BYTES: usize = 16;

/// The token of callers.
pub(super) fn token(section: &Section<'_>, overrides: &Overrides) -> Option<Secret> {
    given(section, "auth_token", overrides.auth_token.as_deref(), "--auth-token, or the variable AUTH_TOKEN,")
}

/// What verifies JSON Web Tokens.
pub(super) fn jwt(section: &Section<'_>, overrides: &Overrides) -> Option<JwtPlan> {
    let method = section.string("jwt_method");
    let method = overrides.jwt_method.clone().or(method).unwrap_or_else(|| "HS256".to_owned());
    let secret = given(section, "jwt_secret", overrides.jwt_secret.as_deref(), "--jwt-secret, or the variable JWT_SECRET,")?;
    let Some((name, algorithm)) = ALGORITHMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(&method)) else {
        let names: Vec<_> = ALGORITHMS.iter().map(|(name, _)| *name).collect();
        section.error("jwt_method", format!("`{method}` is no known algorithm; known: {}", names.join(", ")), None);
        return None;
    };
    let key = match algorithm {
        Algorithm::HS256 => shared(section, name, 32, &secret),
        Algorithm::HS384 => shared(section, name, 48, &secret),
        Algorithm::HS512 => shared(section, name, 64, &secret),
        Algorithm::ES256 | Algorithm::ES384 => public(section, name, DecodingKey::from_ec_pem(secret.expose().as_bytes())),
        _ => public(section, name, DecodingKey::from_rsa_pem(secret.expose().as_bytes())),
    };
    Some(JwtPlan { algorithm: *algorithm, key: key? })
}

/// A secret from the command line, which is called `option` there, or from the file. One that is empty is an error.
fn given(section: &Section<'_>, key: &str, from_command: Option<&str>, option: &str) -> Option<Secret> {
    let from_file = section.secret(key);
    if let Some(text) = from_command {
        if text.trim().is_empty() {
            section.error(key, format!("{option} is empty"), Some("unset it, or give it a value"));
            return None;
        }
        return Some(Secret::new(text.to_owned()));
    }
    let is_empty = from_file.as_ref().is_some_and(|secret| secret.expose().trim().is_empty());
    if is_empty || section.is_null(key) {
        section.error(key, "it has no value", Some("remove the key, or give it a value"));
        return None;
    }
    from_file
}

/// A key that both sides have.
fn shared(section: &Section<'_>, method: &str, hash_bytes: usize, secret: &Secret) -> Option<DecodingKey> {
    let bytes = secret.expose().as_bytes();
    if is_public(secret.expose()) {
        let message = format!(
            "with {method} it would be a secret that both sides share, and this is a key or a certificate, which others have too"
        );
        section.error("jwt_secret", message, Some("name the algorithm of the key: `jwt_method`, as RS256 or ES256"));
        return None;
    }
    let found = bytes.len();
    let hint = "`openssl rand -base64 48` makes one";
    if found < LEAST_BYTES {
        let message =
            format!("it has {found} bytes, and a secret for {method} needs {LEAST_BYTES} at the least, better {hash_bytes}");
        section.error("jwt_secret", message, Some(hint));
        return None;
    }
    if found < hash_bytes {
        let message = format!("it has {found} bytes, and RFC 7518 asks for {hash_bytes} with {method}");
        section.warning("jwt_secret", message, Some(hint));
    }
    Some(DecodingKey::from_secret(bytes))
}

fn public(section: &Section<'_>, method: &str, key: jsonwebtoken::errors::Result<DecodingKey>) -> Option<DecodingKey> {
    let problem = |error| section.error("jwt_secret", format!("with {method} it must be a public key in PEM: {error}"), None);
    key.map_err(problem).ok()
}

/// Whether it is a key of a pair, or a certificate, in one of the forms in which they are handed around: PEM, the base64 inside of it,
/// OpenSSH's line, a JSON Web Key.
fn is_public(text: &str) -> bool {
    let text = text.trim();
    if text.contains("-----BEGIN ") || ["ssh-", "ecdsa-sha2-", "sk-ssh-"].iter().any(|start| text.starts_with(start)) {
        return true;
    }
    if text.starts_with('{') && text.contains("\"kty\"") {
        return true;
    }
    let joined: String = text.split_whitespace().collect();
    STANDARD.decode(joined).is_ok_and(|bytes| is_der(&bytes))
}

/// Whether it is one sequence of DER.
fn is_der(bytes: &[u8]) -> bool {
    let length = match *bytes {
        [0x30, length, ..] if length < 0x80 => 2 + usize::from(length),
        [0x30, 0x81, length, ..] => 3 + usize::from(length),
        [0x30, 0x82, high, low, ..] => 4 + usize::from(u16::from_be_bytes([high, low])),
        _ => return false,
    };
    length == bytes.len()
}

#[cfg(test)]
mod tests {
    use trunkline_config::{Diagnostics, Document, UnknownKeys};

    use super::*;

    /// Whether there is a token, whether there is a key, and what is said; `keys` are separated by commas.
    fn read(keys: &str, overrides: &Overrides) -> (bool, bool, Vec<String>) {
        let diagnostics = Diagnostics::new();
        let variable = |name: &str| (name == "EMPTY").then(String::new);
        let yaml = format!("api:\n  {}\n", keys.replace(", ", "\n  "));
        let document = Document::parse("trunkline.yml", &yaml, &variable, &diagnostics).unwrap();
        let (token, jwt) = document.read(UnknownKeys::Refuse, &diagnostics, |root| {
            root.section_or_empty("api", |section| (token(section, overrides), jwt(section, overrides)))
        });
        let said = diagnostics.sorted().into_iter().map(|said| format!("{:?} {}: {}", said.severity, said.path, said.message));
        (token.is_some(), jwt.is_some(), said.collect())
    }

    #[test]
    fn a_secret_that_says_nothing_stops_the_start() {
        let none = Overrides::default();
        assert_eq!(read("", &none), (false, false, Vec::new()));
        for key in ["auth_token", "jwt_secret"] {
            for value in ["", "''", "' '", "~", "null", "${EMPTY}", "\"\\t\\n\""] {
                let (token, jwt, said) = read(&format!("{key}: {value}"), &none);
                assert_eq!((token, jwt, said.len()), (false, false, 1), "{value}");
                assert_eq!(said[0], format!("Error api.{key}: it has no value"), "{value}");
            }
        }
        for text in ["", " "] {
            let empty = Some(text.to_owned());
            // Also where the file has one, for the option wins.
            let yaml = "auth_token: t0ken, jwt_secret: a secret of at least thirty-two bytes";
            let (token, jwt, said) =
                read(yaml, &Overrides { auth_token: empty.clone(), jwt_secret: empty, ..Overrides::default() });
            assert_eq!((token, jwt), (false, false));
            assert!(said[0].contains("AUTH_TOKEN, is empty") && said[1].contains("JWT_SECRET, is empty"), "{said:?}");
        }
    }

    #[test]
    fn a_public_key_is_no_shared_secret() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let pem = key.public_key_pem();
        let inside: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
        let certificate = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        for secret in [
            pem.as_str(),
            &inside,
            &certificate,
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGQ3Y2Y0YjQ4ZDY3ZGI3ZGM1ZTU4MzE3 ann@home",
            "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\"}",
        ] {
            let overrides = Overrides { jwt_secret: Some(secret.to_owned()), ..Overrides::default() };
            let (_, jwt, said) = read("", &overrides);
            assert!(!jwt && said[0].contains("which others have too") && !said[0].contains(secret), "{said:?}");
        }
        let overrides = Overrides { jwt_secret: Some(pem), jwt_method: Some("es256".to_owned()), ..Overrides::default() };
        assert_eq!(read("", &overrides), (false, true, Vec::new()));
        // The base64 of anything else is a secret.
        for bytes in [&[0x30_u8; 32][..], &[7; 48]] {
            assert!(read(&format!("jwt_secret: {}", STANDARD.encode(bytes)), &Overrides::default()).1);
        }
    }

    #[test]
    fn a_short_secret_is_refused_or_told() {
        for (bytes, method, is_taken, said) in [
            (15, "HS256", false, "Error api.jwt_secret: it has 15 bytes"),
            (16, "HS256", true, "Warning api.jwt_secret: it has 16 bytes, and RFC 7518 asks for 32 with HS256"),
            (32, "HS256", true, ""),
            (47, "HS384", true, "RFC 7518 asks for 48"),
            (63, "HS512", true, "RFC 7518 asks for 64"),
            (64, "HS512", true, ""),
        ] {
            let (_, jwt, all) = read(&format!("jwt_method: {method}, jwt_secret: {}", "s".repeat(bytes)), &Overrides::default());
            assert_eq!((jwt, all.is_empty()), (is_taken, said.is_empty()), "{bytes} {method}");
            assert!(all.concat().contains(said), "{all:?}");
        }
    }

    #[test]
    fn a_method_that_nobody_knows_is_an_error() {
        let secret = "a secret of at least thirty-two bytes";
        let (_, jwt, said) = read(&format!("jwt_method: none, jwt_secret: {secret}"), &Overrides::default());
        assert!(!jwt && said[0].contains("`none` is no known algorithm"), "{said:?}");
    }
}
