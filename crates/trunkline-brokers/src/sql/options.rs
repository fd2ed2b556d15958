//! What stands behind the `?` of a URL, or under `query`, by the names of the drivers for Python.

use std::path::Path;
use std::time::Duration;

use trunkline_config::{Section, closest};
use trunkline_tls::TlsFiles;

use super::dialect::Dialect;
use super::server::{CONNECT_TIMEOUT, Options, Tls, TlsMode};

const POSTGRES: [&str; 6] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "application_name"];

const MYSQL: [&str; 9] = [
    "ssl_mode",
    "ssl_ca",
    "ssl_cert",
    "ssl_key",
    "ssl_check_hostname",
    "ssl_verify_identity",
    "ssl_verify_cert",
    "connect_timeout",
    "charset",
];

/// Reads `query`, a mapping of options.
pub(super) fn read_section(section: &Section<'_>, dialect: Dialect, directory: &Path) -> Option<Options> {
    let read = section.section("query", |query| {
        let keys: Vec<&str> = query.entries().iter().map(|(key, _)| key.name.as_str()).collect();
        let pairs: Vec<(String, String)> =
            keys.into_iter().filter_map(|key| query.string(key).map(|text| (key.to_owned(), text))).collect();
        Pairs { pairs: &pairs, report: &|key, problem, hint| query.error(key, problem, hint) }.read(dialect, directory)
    });
    match read {
        Some(options) => options,
        None => Pairs { pairs: &[], report: &|_, _, _| {} }.read(dialect, directory),
    }
}

/// Reads the options of a complete `url`.
pub(super) fn read_url(section: &Section<'_>, dialect: Dialect, pairs: &[(String, String)], directory: &Path) -> Option<Options> {
    Pairs { pairs, report: &|_, problem, hint| section.error("url", problem, hint) }.read(dialect, directory)
}

/// Options that are being read.
struct Pairs<'a> {
    pairs: &'a [(String, String)],
    /// Reports a problem with the option of a name, and a hint.
    report: &'a dyn Fn(&str, String, Option<&str>),
}

impl Pairs<'_> {
    fn read(&self, dialect: Dialect, directory: &Path) -> Option<Options> {
        let known: &[&str] = if dialect == Dialect::MySql { &MYSQL } else { &POSTGRES };
        let mut is_right = true;
        for (key, _) in self.pairs.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
            is_right = false;
            let hint = closest(key, known.iter().copied())
                .map_or_else(|| format!("known options are {}", known.join(", ")), |name| format!("did you mean `{name}`?"));
            (self.report)(key, format!("unknown option `{key}` for {}", dialect.product()), Some(&hint));
        }
        let tls = if dialect == Dialect::MySql { self.mysql_tls(directory) } else { self.postgres_tls(directory) };
        let timeout = self.timeout();
        is_right.then_some(())?;
        Some(Options {
            tls: tls?,
            connect_timeout: timeout?,
            application_name: self.get("application_name").unwrap_or("trunkline").to_owned(),
        })
    }

    /// As libpq understands them, where `require` with a CA verifies the certificate. A CA alone means that everything is verified:
    /// libpq would verify too, but go on without TLS when that fails.
    fn postgres_tls(&self, directory: &Path) -> Option<Tls> {
        const MODES: [(&str, TlsMode); 6] = [
            ("disable", TlsMode::Never),
            ("allow", TlsMode::IfOffered),
            ("prefer", TlsMode::IfOffered),
            ("require", TlsMode::Always),
            ("verify-ca", TlsMode::VerifyCa),
            ("verify-full", TlsMode::VerifyFull),
        ];
        let tls = self.tls_files(directory, ["sslrootcert", "sslcert", "sslkey"]);
        let mode = self.choice("sslmode", &MODES);
        let (tls, mode) = (tls?, mode?);
        let mode = match mode {
            Some(TlsMode::Always) if tls.files.ca.is_some() => Some(TlsMode::VerifyCa),
            None if tls.files.ca.is_some() => Some(TlsMode::VerifyFull),
            mode => mode,
        };
        let demands = [("sslrootcert", tls.files.ca.as_ref().map(|_| TlsMode::VerifyCa))];
        self.agree(&demands, &[("sslmode", mode)])?;
        Some(Tls { mode, ..tls })
    }

    /// As `PyMySQL`, mysqlclient and Connector/Python understand them.
    fn mysql_tls(&self, directory: &Path) -> Option<Tls> {
        const MODES: [(&str, TlsMode); 5] = [
            ("disabled", TlsMode::Never),
            ("preferred", TlsMode::IfOffered),
            ("required", TlsMode::Always),
            ("verify_ca", TlsMode::VerifyCa),
            ("verify_identity", TlsMode::VerifyFull),
        ];
        let tls = self.tls_files(directory, ["ssl_ca", "ssl_cert", "ssl_key"]);
        let mode = self.choice("ssl_mode", &MODES);
        let certificate = self.boolean("ssl_verify_cert");
        let (name, hostname) = (self.boolean("ssl_verify_identity"), self.boolean("ssl_check_hostname"));
        let (tls, mode, certificate, name, hostname) = (tls?, mode?, certificate?, name?, hostname?);
        let when = |is_so: bool, mode: TlsMode| is_so.then_some(mode);
        let demands = [
            ("ssl_ca", when(tls.files.ca.is_some(), TlsMode::VerifyCa)),
            ("ssl_verify_cert", when(certificate == Some(true), TlsMode::VerifyCa)),
            ("ssl_verify_identity", when(name == Some(true), TlsMode::VerifyFull)),
            ("ssl_check_hostname", when(hostname == Some(true), TlsMode::VerifyFull)),
            ("ssl_mode", mode),
        ];
        let limits = [
            ("ssl_mode", mode),
            ("ssl_verify_cert", when(certificate == Some(false), TlsMode::Always)),
            ("ssl_verify_identity", when(name == Some(false), TlsMode::VerifyCa)),
            ("ssl_check_hostname", when(hostname == Some(false), TlsMode::VerifyCa)),
        ];
        self.agree(&demands, &limits)?;
        let demanded = demands.into_iter().filter_map(|(_, mode)| mode).max();
        let allowed = limits.into_iter().filter_map(|(_, mode)| mode).min();
        let mode = mode.or(match demanded {
            Some(_) => Some(allowed.unwrap_or(TlsMode::VerifyFull)),
            None => when(certificate == Some(false) || tls.files.identity.is_some(), TlsMode::Always),
        });
        Some(Tls { mode, ..tls })
    }

    /// Reports an option that demands more to be verified than another allows: it would be without effect, unnoticed.
    fn agree(&self, demands: &[(&str, Option<TlsMode>)], limits: &[(&str, Option<TlsMode>)]) -> Option<()> {
        let pairs = demands.iter().flat_map(|demand| limits.iter().map(move |limit| (demand, limit)));
        let mut pairs = pairs.filter(|((_, demand), (_, limit))| limit.is_some_and(|limit| *demand > Some(limit)));
        let Some(((demand, _), (limit, _))) = pairs.next() else { return Some(()) };
        let problem = format!("`{demand}` demands that more is verified than `{limit}` allows");
        (self.report)(demand, problem, Some("leave out one of them"));
        None
    }

    fn tls_files(&self, directory: &Path, [ca, certificate, key]: [&str; 3]) -> Option<Tls> {
        let path = |name: &str| self.get(name).map(|path| directory.join(path));
        let (ca, identity) = (path(ca), (path(certificate), path(key)));
        let (there, missing) = match identity {
            (Some(certificate), Some(key)) => {
                return Some(Tls { mode: None, files: TlsFiles { ca, identity: Some((certificate, key)) } });
            }
            (None, None) => return Some(Tls { mode: None, files: TlsFiles { ca, identity: None } }),
            (None, Some(_)) => (key, certificate),
            (Some(_), None) => (certificate, key),
        };
        (self.report)(there, format!("`{there}` needs `{missing}` beside it"), None);
        None
    }

    /// Outer `None`: there is an error.
    #[expect(clippy::option_option, reason = "absent and wrong are different")]
    fn choice(&self, key: &str, choices: &[(&str, TlsMode)]) -> Option<Option<TlsMode>> {
        let Some(text) = self.get(key) else { return Some(None) };
        let written = text.to_ascii_lowercase();
        if let Some((_, mode)) = choices.iter().find(|(name, _)| *name == written) {
            return Some(Some(*mode));
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        (self.report)(key, format!("`{key}` must be one of {}", names.join(", ")), None);
        None
    }

    #[expect(clippy::option_option, reason = "absent and wrong are different")]
    fn boolean(&self, key: &str) -> Option<Option<bool>> {
        match self.get(key).map(str::to_ascii_lowercase).as_deref() {
            None => Some(None),
            Some("true" | "1") => Some(Some(true)),
            Some("false" | "0") => Some(Some(false)),
            Some(_) => {
                (self.report)(key, format!("`{key}` must be true or false"), None);
                None
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let Some(text) = self.get("connect_timeout") else { return Some(CONNECT_TIMEOUT) };
        let seconds = text.parse().ok().filter(|seconds| (1..=60).contains(seconds));
        if seconds.is_none() {
            (self.report)("connect_timeout", "`connect_timeout` must be from 1 to 60 seconds".to_owned(), None);
        }
        seconds.map(Duration::from_secs)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}
