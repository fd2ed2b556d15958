//! Signatures of webhooks: HMAC over the bytes of a body, as they go over the wire.
//!
//! | form | header | value | signed |
//! | --- | --- | --- | --- |
//! | [Standard Webhooks](standard) | `webhook-signature` | `v1,<base64>`, several with spaces between | `id.timestamp.body`, SHA-256 |
//! | [GitHub](hub_sha256), SHA-256 | `X-Hub-Signature-256` | `sha256=<hex>` | the body |
//! | [GitHub](hub_sha1), SHA-1 | `X-Hub-Signature` | `sha1=<hex>` | the body |
//! | [Oracle Digital Assistant](hub_sha256) | `X-Hub-Signature` | `sha256=<hex>` | the body |
//!
//! All comparisons take the same time wherever the difference is.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

/// The header with the id, the same on every attempt.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the Unix seconds of the attempt.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with the signatures of Standard Webhooks.
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// GitHub's header for SHA-256.
pub const HUB_256_HEADER: &str = "x-hub-signature-256";
/// The older header: SHA-1 with GitHub, SHA-256 with Oracle Digital Assistant.
pub const HUB_HEADER: &str = "x-hub-signature";

/// How far the time of a webhook may be off, in seconds, as in the reference implementations.
pub const TOLERANCE: u64 = 300;

/// A key that both sides know. `Debug` does not show it.
#[derive(Clone)]
pub struct Key(Vec<u8>);

impl Key {
    /// A secret of Standard Webhooks: `whsec_` and base64, or any other text, whose bytes are the key; but not a key for Ed25519.
    pub fn standard(secret: &str) -> Result<Self, KeyError> {
        if secret.starts_with("whsk_") || secret.starts_with("whpk_") {
            return Err(KeyError::Asymmetric);
        }
        match secret.strip_prefix("whsec_") {
            Some(encoded) => Self::from_bytes(STANDARD.decode(encoded).map_err(|_| KeyError::Base64)?),
            None => Self::raw(secret),
        }
    }

    /// A secret whose bytes are the key.
    pub fn raw(secret: &str) -> Result<Self, KeyError> {
        Self::from_bytes(secret.as_bytes().to_vec())
    }

    fn from_bytes(bytes: Vec<u8>) -> Result<Self, KeyError> {
        if bytes.is_empty() { Err(KeyError::Empty) } else { Ok(Self(bytes)) }
    }

    fn hmac<M: Mac + KeyInit>(&self, parts: &[&[u8]]) -> M {
        let mut mac = <M as KeyInit>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// With an empty key everybody can sign.
    #[error("the secret is empty")]
    Empty,
    /// What follows `whsec_` cannot be decoded.
    #[error("what follows `whsec_` is not base64")]
    Base64,
    /// A key pair of Standard Webhooks, `whsk_` or `whpk_`.
    #[error("this is a key for Ed25519, and requests are signed with HMAC, for which both sides have the same secret")]
    Asymmetric,
}

/// The `webhook-signature` of `body`: one for each key, so that a key can be replaced while both are known. `id` contains no
/// dot, `timestamp` is in Unix seconds.
pub fn standard(keys: &[Key], id: &str, timestamp: u64, body: &[u8]) -> String {
    let timestamp = timestamp.to_string();
    let sign = |key: &Key| format!("v1,{}", STANDARD.encode(standard_mac(key, id, &timestamp, body).finalize().into_bytes()));
    keys.iter().map(sign).collect::<Vec<_>>().join(" ")
}

/// Whether `signatures`, the value of a `webhook-signature`, contains one that one of the keys made at a time that is less than
/// [`TOLERANCE`] away from `now`, in Unix seconds. Signatures of unknown versions are passed over.
pub fn verify_standard(
    keys: &[Key],
    id: &str,
    timestamp: &str,
    body: &[u8],
    signatures: &str,
    now: u64,
) -> Result<(), Unverified> {
    let time: u64 = timestamp.parse().map_err(|_| Unverified::Malformed)?;
    if time.abs_diff(now) > TOLERANCE {
        return Err(Unverified::Time);
    }
    let given = signatures.split_ascii_whitespace().filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
    let given: Vec<_> = given.collect();
    let is_ours = |key: &Key| {
        let mac = standard_mac(key, id, timestamp, body);
        given.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
    };
    match () {
        () if given.is_empty() => Err(Unverified::Malformed),
        () if keys.iter().any(is_ours) => Ok(()),
        () => Err(Unverified::Signature),
    }
}

fn standard_mac(key: &Key, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    key.hmac(&[id.as_bytes(), b".", timestamp.as_bytes(), b".", body])
}

/// `sha256=` and the lower-case hexadecimal digits.
pub fn hub_sha256(key: &Key, body: &[u8]) -> String {
    format!("sha256={}", hex(&key.hmac::<Hmac<Sha256>>(&[body]).finalize().into_bytes()))
}

/// `sha1=` and the lower-case hexadecimal digits. For receivers that know nothing better.
pub fn hub_sha1(key: &Key, body: &[u8]) -> String {
    format!("sha1={}", hex(&key.hmac::<Hmac<Sha1>>(&[body]).finalize().into_bytes()))
}

/// Whether `signature` is the `sha256=…` that one of the keys makes of `body`; the digits may be in either case. SHA-1 is not
/// accepted.
pub fn verify_hub(keys: &[Key], body: &[u8], signature: &str) -> Result<(), Unverified> {
    let digits = signature.trim().strip_prefix("sha256=").ok_or(Unverified::Malformed)?;
    let given = unhex(digits).filter(|given| given.len() == 32).ok_or(Unverified::Malformed)?;
    let is_ours = |key: &Key| key.hmac::<Hmac<Sha256>>(&[body]).verify_slice(&given).is_ok();
    if keys.iter().any(is_ours) { Ok(()) } else { Err(Unverified::Signature) }
}

/// Why a webhook is not believed. To whoever sent it all of them are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// There is nothing that could be compared.
    #[error("the signature or its timestamp is malformed")]
    Malformed,
    /// It was made too long ago, or lies ahead: somebody may be repeating it.
    #[error("the signature was made at another time")]
    Time,
    /// None of the keys made it.
    #[error("the signature is wrong")]
    Signature,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: &str) -> Key {
        Key::standard(secret).expect("a key")
    }

    /// Published by Standard Webhooks and its libraries: secret, id, timestamp, body, signature.
    const VECTORS: [(&str, &str, u64, &str, &str); 2] = [
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            "{\"email\":\"test@example.com\",\"username\":\"test_user\"}",
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
    ];

    #[test]
    fn signatures_are_those_of_the_specification() {
        for (secret, id, timestamp, body, expected) in VECTORS {
            assert_eq!(standard(&[key(secret)], id, timestamp, body.as_bytes()), expected);
        }
        let both = [key(VECTORS[0].0), key(VECTORS[1].0)];
        let signatures = standard(&both, VECTORS[1].1, VECTORS[1].2, VECTORS[1].3.as_bytes());
        assert!(signatures.ends_with(&format!(" {}", VECTORS[1].4)), "{signatures}");
    }

    #[test]
    fn one_right_signature_by_one_of_the_keys_suffices() {
        let (secret, id, timestamp, body, signature) = VECTORS[0];
        let verify = |secrets: &[&str], id: &str, body: &str, signatures: &str, now: u64| {
            let keys: Vec<Key> = secrets.iter().map(|secret| key(secret)).collect();
            verify_standard(&keys, id, &timestamp.to_string(), body.as_bytes(), signatures, now)
        };
        let other = VECTORS[1].4;
        assert_eq!(verify(&[secret], id, body, signature, timestamp), Ok(()));
        assert_eq!(verify(&["other", secret], id, body, &format!("v1a,xyz {other} {signature}"), timestamp + 300), Ok(()));
        assert_eq!(verify(&[secret], id, body, signature, timestamp + 301), Err(Unverified::Time));
        assert_eq!(verify(&[secret], id, body, signature, timestamp - 301), Err(Unverified::Time));
        assert_eq!(verify(&[secret], id, body, other, timestamp), Err(Unverified::Signature));
        assert_eq!(verify(&["other"], id, body, signature, timestamp), Err(Unverified::Signature));
        assert_eq!(verify(&[], id, body, signature, timestamp), Err(Unverified::Signature));
        assert_eq!(verify(&[secret], "msg_other", body, signature, timestamp), Err(Unverified::Signature));
        assert_eq!(verify(&[secret], id, &format!("{body} "), signature, timestamp), Err(Unverified::Signature));
        for malformed in ["", "v1,", "v2,abc", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="] {
            assert!(verify(&[secret], id, body, malformed, timestamp).is_err(), "{malformed}");
        }
        assert_eq!(verify_standard(&[key(secret)], id, "now", b"", signature, timestamp), Err(Unverified::Malformed));
    }

    #[test]
    fn hub_signatures_are_those_that_are_published() {
        for (secret, body, digits) in [
            ("It's a Secret to Everybody", "Hello, World!", "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
            (
                "key",
                "The quick brown fox jumps over the lazy dog",
                "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8",
            ),
            ("sécret", "{\"m\":\"Hello, 🌎!\"}", "188865106b280644bd4193d84b2c566b2dbf1da15dcb468bab033d2620ffb4d9"),
        ] {
            let key = Key::raw(secret).expect("a key");
            let signature = hub_sha256(&key, body.as_bytes());
            assert_eq!(signature, format!("sha256={digits}"));
            let verify = |signature: &str| verify_hub(std::slice::from_ref(&key), body.as_bytes(), signature);
            assert_eq!(verify(&signature), Ok(()));
            assert_eq!(verify(&format!(" sha256={} ", digits.to_uppercase())), Ok(()));
            assert_eq!(verify(&signature.replace(['7', '1'], "2")), Err(Unverified::Signature));
            for malformed in [digits, "sha256=", &format!("{signature}0"), &format!("{signature}00"), "sha1=00", "sha256=zz"] {
                assert_eq!(verify(malformed), Err(Unverified::Malformed), "{malformed}");
            }
        }
        // RFC 2202, case 2.
        let key = Key::raw("Jefe").expect("a key");
        assert_eq!(hub_sha1(&key, b"what do ya want for nothing?"), "sha1=effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_and_no_key_is_shown() {
        assert_eq!(Key::standard("").err(), Some(KeyError::Empty));
        assert_eq!(Key::standard("whsec_").err(), Some(KeyError::Empty));
        assert_eq!(Key::standard("whsec_!").err(), Some(KeyError::Base64));
        for asymmetric in ["whsk_6Xb/dCcHpPea21PS1N9VYw==", "whpk_6Xb/dCcHpPea21PS1N9VYw=="] {
            assert_eq!(Key::standard(asymmetric).err(), Some(KeyError::Asymmetric));
        }
        assert_eq!(format!("{:?}", key("hunter2")), "[redacted]");
    }
}
