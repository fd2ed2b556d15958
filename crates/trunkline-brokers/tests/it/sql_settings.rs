//! The section `type: sql` for servers: what is said about it, and nothing outside the process touched.

use crate::servers::build;

fn said(yaml: &str) -> Vec<String> {
    build(yaml, None).1
}

#[test]
fn the_section_of_the_originals_manual_is_accepted_as_it_is() {
    let yaml = "url: 127.0.0.1\nport: 5432\ndialect: postgresql\nusername: myuser\npassword: mypassword\ndb: mydatabase";
    assert_eq!(said(yaml), [""; 0]);
}

#[test]
fn every_name_of_a_dialect_is_understood() {
    for dialect in
        ["postgresql", "POSTGRESQL", "postgres", "postgresql+psycopg2", "mysql", "mysql+pymysql", "mariadb", "mariadb+pymysql"]
    {
        assert_eq!(said(&format!("dialect: {dialect}\nurl: host\ndb: d\nusername: u")), [""; 0], "{dialect}");
        assert_eq!(said(&format!("url: {dialect}://u:p@host/d")), [""; 0], "{dialect}");
    }
}

#[test]
fn what_a_server_cannot_do_without_is_demanded() {
    assert_eq!(said("dialect: postgresql"), ["error: section.db: required key is missing (add `db: …`)"]);
    assert_eq!(
        said("dialect: mysql\nport: 0"),
        [
            "error: section.db: required key is missing (add `db: …`)",
            "error: section.username: required key is missing (add `username: …`)",
            "error: section.port: expected a port number from 1 to 65535, found 0",
        ]
    );
    assert_eq!(
        said("url: postgresql://host"),
        ["error: section.url: no database is named in the URL (write it as in `dialect://host/database`)"]
    );
    assert_eq!(
        said("url: mysql://host/d"),
        ["error: section.url: no user is named in the URL (write it as in `dialect://username:password@host/database`)"]
    );
}

#[test]
fn a_port_beside_the_host_wins_and_one_that_is_none_is_an_error() {
    let server = "dialect: postgresql\ndb: d";
    for url in ["host", "host:5433", "'[::1]:5433'", "'::1'"] {
        assert_eq!(said(&format!("{server}\nurl: {url}")), [""; 0], "{url}");
    }
    assert_eq!(
        said(&format!("{server}\nurl: host:5433\nport: 5432")),
        ["warning: section.port: `port` has no effect beside the port in `url`"]
    );
    let hint = "(in a complete URL, write `@` in a password as `%40`)";
    for url in ["host:x", "host:0", "host:70000"] {
        assert_eq!(
            said(&format!("{server}\nurl: {url}")),
            [format!("error: section.url: the port in `url` is no number from 1 to 65535 {hint}")]
        );
    }
    // A password with `@` in it: the rest of it is part of the host then.
    assert_eq!(said("url: 'postgresql://u:p:p@ss:x@host/d'").len(), 1);
}

#[test]
fn a_complete_url_makes_the_other_options_idle() {
    assert_eq!(
        said("url: postgresql://u:p@host/d\ndb: other\nport: 1\nusername: v\npassword: q\nquery: {sslmode: require}"),
        ["db", "port", "username", "password", "query"]
            .map(|key| format!("warning: section.{key}: `{key}` has no effect beside a complete `url`"))
    );
}

#[test]
fn options_by_the_names_of_the_drivers_are_understood_and_others_are_errors() {
    let postgres = "dialect: postgresql\ndb: d\nquery:";
    for query in [
        "{sslmode: disable}",
        "{sslmode: verify-full, sslrootcert: ca.pem, sslcert: c.pem, sslkey: c.key}",
        "{connect_timeout: 5, application_name: mine}",
    ] {
        assert_eq!(said(&format!("{postgres} {query}")), [""; 0], "{query}");
    }
    let mysql = "dialect: mysql\ndb: d\nusername: u\nquery:";
    for query in [
        "{charset: utf8mb4, ssl_ca: ca.pem, ssl_check_hostname: false}",
        "{ssl_mode: VERIFY_IDENTITY, ssl_ca: ca.pem, ssl_cert: c.pem, ssl_key: c.key}",
        "{ssl_verify_cert: true, ssl_verify_identity: true, connect_timeout: '5'}",
    ] {
        assert_eq!(said(&format!("{mysql} {query}")), [""; 0], "{query}");
    }
    assert_eq!(
        said(&format!("{postgres} {{sslmod: require, connect_timeout: 0}}")),
        [
            "error: section.query.sslmod: unknown option `sslmod` for PostgreSQL (did you mean `sslmode`?)",
            "error: section.query.connect_timeout: `connect_timeout` must be from 1 to 60 seconds",
        ]
    );
    assert_eq!(
        said(&format!("{postgres} {{sslmode: full}}")),
        ["error: section.query.sslmode: `sslmode` must be one of disable, allow, prefer, require, verify-ca, verify-full"]
    );
    assert_eq!(
        said(&format!("{mysql} {{ssl_key: k.pem}}")),
        ["error: section.query.ssl_key: `ssl_key` needs `ssl_cert` beside it"]
    );
    assert_eq!(
        said("url: mysql://u:p@host/d?sslmode=require"),
        ["error: section.url: unknown option `sslmode` for MySQL (did you mean `ssl_mode`?)"]
    );
}

#[test]
fn options_of_tls_that_contradict_each_other_are_errors() {
    let said_of = |dialect: &str, query: &str| said(&format!("dialect: {dialect}\ndb: d\nusername: u\nquery: {query}"));
    for query in [
        "{sslrootcert: ca.pem}",
        "{sslmode: require, sslrootcert: ca.pem}",
        "{sslmode: verify-ca, sslrootcert: ca.pem}",
        "{sslmode: prefer, sslcert: c.pem, sslkey: c.key}",
    ] {
        assert_eq!(said_of("postgresql", query), [""; 0], "{query}");
    }
    for query in [
        "{ssl_ca: ca.pem}",
        "{ssl_ca: ca.pem, ssl_verify_identity: false}",
        "{ssl_mode: VERIFY_CA, ssl_ca: ca.pem, ssl_verify_cert: true, ssl_check_hostname: false}",
        "{ssl_mode: REQUIRED, ssl_verify_cert: false}",
        "{ssl_verify_cert: false, ssl_check_hostname: false}",
    ] {
        assert_eq!(said_of("mysql", query), [""; 0], "{query}");
    }
    for (dialect, query, demand, limit) in [
        ("postgresql", "{sslmode: prefer, sslrootcert: ca.pem}", "sslrootcert", "sslmode"),
        ("postgresql", "{sslmode: disable, sslrootcert: ca.pem}", "sslrootcert", "sslmode"),
        ("mysql", "{ssl_mode: REQUIRED, ssl_ca: ca.pem, ssl_verify_identity: true}", "ssl_ca", "ssl_mode"),
        ("mysql", "{ssl_mode: VERIFY_CA, ssl_verify_identity: true}", "ssl_verify_identity", "ssl_mode"),
        ("mysql", "{ssl_mode: PREFERRED, ssl_check_hostname: true}", "ssl_check_hostname", "ssl_mode"),
        ("mysql", "{ssl_verify_cert: false, ssl_verify_identity: true}", "ssl_verify_identity", "ssl_verify_cert"),
        ("mysql", "{ssl_verify_cert: false, ssl_ca: ca.pem}", "ssl_ca", "ssl_verify_cert"),
        ("mysql", "{ssl_mode: VERIFY_IDENTITY, ssl_check_hostname: false}", "ssl_mode", "ssl_check_hostname"),
    ] {
        assert_eq!(
            said_of(dialect, query),
            [format!(
                "error: section.query.{demand}: `{demand}` demands that more is verified than `{limit}` allows (leave out one of them)"
            )]
        );
    }
}

#[test]
fn what_may_be_a_part_of_the_password_is_neither_taken_for_a_host_nor_shown() {
    let hint = "(in a complete URL, write `@` in a password as `%40`)";
    for url in ["postgresql://u:p@ss@host/d", "mysql://u:p@ss@host:3306/d", "postgresql://u:p@ss/word@host/d"] {
        assert_eq!(said(&format!("url: '{url}'")), [format!("error: section.url: a second `@` stands in `url` {hint}")]);
    }
    assert_eq!(
        said("dialect: postgresql\ndb: d\nurl: u@host"),
        ["error: section.url: the host in `url` has an `@` in it (name the user with `username` and `password`)"]
    );
    assert_eq!(said("url: postgresql://u:p%40ss@host/d"), [""; 0]);
}

#[test]
fn no_secret_is_shown_in_debug_output() {
    for yaml in ["dialect: postgresql\ndb: d\nusername: u\npassword: hunter2", "url: mysql://u:hunter2@host/d"] {
        let store = crate::servers::read(yaml, |section| {
            trunkline_brokers::SqlTrackerStore::from_section(section, std::path::Path::new("/nowhere"))
        });
        assert!(!format!("{store:?}").contains("hunter2"));
    }
}
