//! What a section says about SASL: the mechanism, and what it needs.

use std::path::Path;

use rdkafka::ClientConfig;
use trunkline_config::{Secret, Section};

use crate::cluster::Access;
use crate::oauth::Token;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mechanism {
    /// PLAIN and SCRAM: a user name and a password.
    Password(&'static str),
    OauthBearer,
    Gssapi,
}

impl Mechanism {
    fn name(self) -> &'static str {
        match self {
            Self::Password(name) => name,
            Self::OauthBearer => "OAUTHBEARER",
            Self::Gssapi => "GSSAPI",
        }
    }
}

const MECHANISMS: [(&str, Mechanism); 5] = [
    ("PLAIN", Mechanism::Password("PLAIN")),
    ("SCRAM-SHA-256", Mechanism::Password("SCRAM-SHA-256")),
    ("SCRAM-SHA-512", Mechanism::Password("SCRAM-SHA-512")),
    ("OAUTHBEARER", Mechanism::OauthBearer),
    ("GSSAPI", Mechanism::Gssapi),
];

/// All options of SASL.
pub(crate) const KEYS: [&str; 8] = [
    "sasl_mechanism",
    "sasl_username",
    "sasl_password",
    "sasl_oauthbearer_token_file",
    "sasl_oauthbearer_unsecured_principal",
    "sasl_kerberos_service_name",
    "sasl_kerberos_keytab",
    "sasl_kerberos_principal",
];

/// Reads the options of SASL; false after an error.
pub(crate) fn read(section: &Section<'_>, directory: &Path, config: Option<&mut ClientConfig>, access: &mut Access) -> bool {
    let mechanism = section.enumeration("sasl_mechanism", &MECHANISMS);
    let username = section.string("sasl_username").filter(|name| !name.is_empty());
    let password = section.secret("sasl_password").filter(|password| !password.expose().is_empty());
    let token_file = section.string("sasl_oauthbearer_token_file").map(|path| directory.join(path));
    let unsecured = section.string("sasl_oauthbearer_unsecured_principal");
    let kerberos = Kerberos {
        service: section.string("sasl_kerberos_service_name"),
        keytab: section.string("sasl_kerberos_keytab").map(|path| directory.join(path).to_string_lossy().into_owned()),
        principal: section.string("sasl_kerberos_principal"),
    };
    let Some(config) = config else { return true };
    let mechanism = match mechanism {
        Some(mechanism) => mechanism,
        None if section.has("sasl_mechanism") => return false,
        None => Mechanism::Password("PLAIN"),
    };
    warn_of_idle_keys(section, mechanism);
    config.set("sasl.mechanism", mechanism.name());
    match mechanism {
        Mechanism::Password(name) => set_password(section, config, name, username, password),
        Mechanism::OauthBearer => {
            access.token = match (token_file, unsecured) {
                (Some(path), None) => {
                    access.files.push(("sasl_oauthbearer_token_file", path.clone()));
                    Some(Token::File(path))
                }
                (None, Some(principal)) => Some(Token::Unsecured(principal)),
                (Some(_), Some(_)) => {
                    let message = "`sasl_oauthbearer_unsecured_principal` contradicts `sasl_oauthbearer_token_file`";
                    section.error("sasl_oauthbearer_unsecured_principal", message, Some("leave out one of them"));
                    None
                }
                (None, None) => {
                    let hint = "name the file that holds the bearer token; it is read again before the token expires";
                    let message = "`sasl_mechanism: OAUTHBEARER` needs `sasl_oauthbearer_token_file`";
                    section.error("sasl_oauthbearer_token_file", message, Some(hint));
                    None
                }
            };
            access.token.is_some()
        }
        Mechanism::Gssapi => kerberos.set(section, config, access),
    }
}

/// A keytab beside a user name would otherwise be PLAIN without a word.
fn warn_of_idle_keys(section: &Section<'_>, mechanism: Mechanism) {
    for key in KEYS.iter().filter(|key| section.has(key)) {
        let (fits, wanted) = match *key {
            "sasl_username" | "sasl_password" => (matches!(mechanism, Mechanism::Password(_)), "`PLAIN` and `SCRAM-…`"),
            key if key.starts_with("sasl_oauthbearer_") => (mechanism == Mechanism::OauthBearer, "`OAUTHBEARER`"),
            key if key.starts_with("sasl_kerberos_") => (mechanism == Mechanism::Gssapi, "`GSSAPI`"),
            _ => continue,
        };
        if !fits {
            let message = format!("`{key}` has no effect with `sasl_mechanism: {}`", mechanism.name());
            section.warning(key, message, Some(&format!("it belongs to {wanted}; without `sasl_mechanism` it is PLAIN")));
        }
    }
}

fn set_password(
    section: &Section<'_>,
    config: &mut ClientConfig,
    mechanism: &str,
    username: Option<String>,
    password: Option<Secret>,
) -> bool {
    // Both have defaults that ask for a password, so a section for a server without one meets this first.
    let hint = if section.has("security_protocol") {
        "for a server that asks for no password, choose another `security_protocol`"
    } else {
        "without `security_protocol` it is SASL_PLAINTEXT; for a server that asks for no password, write `security_protocol: PLAINTEXT`"
    };
    let missing = |key| section.error(key, format!("`{key}` is required for the SASL mechanism {mechanism}"), Some(hint));
    if username.is_none() {
        missing("sasl_username");
    }
    if password.is_none() {
        missing("sasl_password");
    }
    let (Some(username), Some(password)) = (username, password) else { return false };
    config.set("sasl.username", username).set("sasl.password", password.expose());
    true
}

/// The options of GSSAPI.
struct Kerberos {
    service: Option<String>,
    keytab: Option<String>,
    principal: Option<String>,
}

impl Kerberos {
    fn set(self, section: &Section<'_>, config: &mut ClientConfig, access: &mut Access) -> bool {
        if !cfg!(feature = "gssapi") {
            let message = "the SASL mechanism GSSAPI (Kerberos) is not in this build of Trunkline";
            let hint = "build it with `cargo build --release --features kafka-gssapi`, which needs libsasl2-dev";
            section.error("sasl_mechanism", message, Some(hint));
            return false;
        }
        // They become words of a command for the shell, which gets the ticket.
        let mut is_right = true;
        for (key, value) in [("sasl_kerberos_keytab", &self.keytab), ("sasl_kerberos_principal", &self.principal)] {
            let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '@' | '+' | ':' | ',' | '=');
            if let Some(value) = value.as_ref().filter(|value| !value.chars().all(is_plain)) {
                let hint = format!("it is used in a command for the shell, as `{value}`");
                section.unexpected(key, "letters, digits and `/._-@+:,=` only", Some(&hint));
                is_right = false;
            }
        }
        if self.keytab.is_some() && self.principal.is_none() {
            let message = "`sasl_kerberos_principal` is required with `sasl_kerberos_keytab`";
            section.error("sasl_kerberos_principal", message, Some("name the principal whose key the file holds"));
            is_right = false;
        }
        config.set("sasl.kerberos.service.name", self.service.unwrap_or_else(|| "kafka".to_owned()));
        match (self.keytab, self.principal) {
            (Some(keytab), Some(principal)) => {
                config.set("sasl.kerberos.kinit.cmd", format!("kinit -k -t {keytab} {principal}"));
                access.files.push(("sasl_kerberos_keytab", keytab.into()));
            }
            // Then a ticket is there already, and somebody else renews it.
            (_, principal) => {
                config.set("sasl.kerberos.kinit.cmd", ":").set("sasl.kerberos.min.time.before.relogin", "0");
                if let Some(principal) = principal {
                    config.set("sasl.kerberos.principal", principal);
                }
            }
        }
        is_right
    }
}
